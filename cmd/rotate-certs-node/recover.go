package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"
)

func (p *program) recoverCommand() *cobra.Command {
	var boot bool
	var out output
	cmd := &cobra.Command{
		Use:   "recover",
		Short: "Complete or undo what a rotation left on this node",
		Long: `Restore the old certificates of an interrupted rotation, restart the components that may
have read new ones, and verify that the old ones are in use. Certificates that are in
place but not verified yet are verified; new ones stay. It needs no API server. It
changes nothing if no rotation was interrupted, or if a rotation is in progress (exit
code 3).

With --boot it only restores files, since no component runs yet that could have read
others. A systemd unit, which a rotation installs until it is done, runs it so.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			engine, closeEngine := p.newEngine()
			defer closeEngine()
			records, err := out.recordWriter(p.stdout)
			if err != nil {
				return err
			}
			undone, err := engine.RecoverNode(cmd.Context(), boot)
			for _, rec := range undone {
				if err := json.NewEncoder(records).Encode(rec); err != nil {
					return fmt.Errorf("print: %w", err)
				}
			}
			if err == nil && len(undone) == 0 {
				fmt.Fprintln(p.stderr, "nothing to do: no rotation was interrupted on this node")
			}
			return err
		},
	}
	out.add(cmd)
	cmd.Flags().BoolVar(&boot, "boot", false, "only restore files: no component runs on this node yet")
	return cmd
}
