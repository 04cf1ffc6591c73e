package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func (p *program) historyCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "history [ID]",
		Short: "List the rotations in this node's journals, or every record of one; changes nothing",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			format, err := printers.ParseFormat(output)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return p.printRotations(format)
			}
			return p.printRotation(format, args[0])
		},
	}
	addFormat(cmd, &output)
	return cmd
}

// printRotations lists the rotations of this node's journals. A damaged one is listed as not
// inspected.
func (p *program) printRotations(format printers.Format) error {
	rotations, _, err := statedir.ReadHistory(p.hostRoot())
	name := p.ownName()
	missing := []v1alpha1.NotInspected{}
	if err != nil {
		missing = append(missing, v1alpha1.NotInspected{Node: name, Reason: inventory.UnreadJournals + err.Error()})
	}
	past := printers.PastRotations([]inventory.Node{{Name: name, Rotations: rotations}}, programName, true, time.Now())
	list := v1alpha1.RotationList{APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.RotationListKind, Items: past, NotInspected: missing}
	if err := printers.PrintRotations(p.stdout, format, list); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	if len(past) > 0 {
		printers.PrintNotes(p.stderr, fmt.Sprintf("Every record of one: %s history %s", programName, printers.CleanText(past[0].ID)))
	}
	return nil
}

// printRotation prints one rotation with all its records on this node.
func (p *program) printRotation(format printers.Format, id string) error {
	records, err := statedir.ReadRecords(p.hostRoot(), id)
	if err != nil {
		return err
	}
	if len(records) == 0 {
		return hint.AddTo(fmt.Errorf("no journal has rotation %q", id), "%s history lists them", programName)
	}
	name := p.ownName()
	now := time.Now()
	history := printers.NewHistory(id, []nodeapi.Journal{{Node: name, Rotation: id, Records: records}}, programName, true, now)
	if format == printers.Table || format == printers.Wide {
		fmt.Fprintf(p.stdout, "By the journals of %s only. ", name)
	}
	if err := printers.PrintHistory(p.stdout, format, history, programName, now); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	return nil
}

// ownName is the node's name.
func (p *program) ownName() string {
	if p.nodeName != "" {
		return p.nodeName
	}
	return p.discoverNode().Name
}
