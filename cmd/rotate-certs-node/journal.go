package main

import (
	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// journalCommand is follow without waiting: the command of a read-only pod for "history".
func (p *program) journalCommand() *cobra.Command {
	var rotation string
	cmd := &cobra.Command{
		Use:   nodeapi.CommandJournal + " --rotation ID",
		Short: "Print all records of a rotation on this node as one line of JSON; changes nothing",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			records, err := statedir.ReadRecords(p.hostRoot(), rotation)
			if err != nil {
				return err
			}
			return p.printJSON(nodeapi.Journal{Node: p.ownName(), Rotation: rotation, Records: records})
		},
	}
	addRotation(cmd, &rotation)
	return cmd
}
