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
		Short: "Put the old certificates back where a rotation was interrupted; else change nothing",
		Long: `Put the old certificates back where a rotation was interrupted, restart what may
have read new ones, and verify that the old ones are in use. Needs no API server. Where
nothing was interrupted it changes nothing, and neither while a rotation is in progress
(exit code 3).

With --boot it only puts files back, as nothing runs yet that could have read others:
so it is run by a systemd unit that a rotation leaves until it is done.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			engine, closeEngine := p.engine()
			defer closeEngine()
			records, err := out.records(p.stdout)
			if err != nil {
				return err
			}
			undone, err := engine.Recover(cmd.Context(), boot)
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
	cmd.Flags().BoolVar(&boot, "boot", false, "put files back only: nothing runs on this node yet")
	return cmd
}
