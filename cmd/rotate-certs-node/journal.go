package main

import (
	"github.com/spf13/cobra"

	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/journal/statedir"
)

// journalCommand is follow without waiting: what a read-only pod runs for "history".
func (p *program) journalCommand() *cobra.Command {
	var rotation string
	cmd := &cobra.Command{
		Use:   "journal --rotation ID",
		Short: "Print all records of a rotation on this node as one line of JSON; changes nothing",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			records, err := statedir.Records(p.hostRoot(), rotation)
			if err != nil {
				return err
			}
			name := p.nodeName
			if name == "" {
				name = p.discover().Name
			}
			return p.print(journal.Log{Node: name, Rotation: rotation, Records: records})
		},
	}
	addRotation(cmd, &rotation)
	return cmd
}
