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
its backups and its staged files. No certificate in use is changed. Use it for a
rotation whose journal cannot be read: every scan reports it until it is removed.

A rotation that began to replace certificates, and of which no record shows the end, is
refused. Verify the node's certificates before you add --force: its backup is the only
copy of the replaced files.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			engine, closeEngine := p.newEngine()
			defer closeEngine()
			if err := engine.ForgetRotation(cmd.Context(), args[0], force); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.stderr, "rotation %s removed\n", args[0])
			return err
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even if no record shows the end of its replacement of certificates")
	return cmd
}
