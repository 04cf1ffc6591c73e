package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) forgetCommand() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "forget ID",
		Short: "Remove a rotation whose journal is damaged from this node's state",
		Long: `Remove a rotation from this node's state below /var/lib/rotate-certs: its journal,
the backups of what it replaced and what it had staged. No certificate in use is
touched. It is meant for a rotation whose journal cannot be read, which is reported by
every scan until then.

A rotation that began to replace certificates, and of which no record says how that
ended, is refused. Verify the node's certificates before you add --force: its backup is
the only copy of what it replaced.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			engine, closeEngine := p.engine()
			defer closeEngine()
			if err := engine.Forget(cmd.Context(), args[0], force); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.stderr, "rotation %s removed\n", args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "also where no record says how its replacement of certificates ended")
	return cmd
}
