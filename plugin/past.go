package plugin

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// reader is the common part of the commands that read journals: flags, and the values that
// complete derives from them.
type reader struct {
	*app
	*connectionFlags
	nodeFlags
	transportFlags // of history

	output string

	format printers.Format
	conn   connection
}

func (o *reader) completeReader(cmd *cobra.Command) error {
	err := o.validateNodes(cmd)
	if err != nil {
		return err
	}
	if o.format, err = printers.ParseFormat(o.output); err != nil {
		return err
	}
	if !o.overSSH() {
		o.conn, err = o.newConnection()
	}
	return err
}

// openCluster connects and chooses the nodes. The caller calls disconnect.
func (o *reader) openCluster(ctx context.Context, use kube.Use) (c *cluster, chosen fleet.Selection, disconnect func(), err error) {
	c, disconnect, err = o.connectNodes(ctx, &o.transportFlags, o.connectionFlags, o.conn)
	if err != nil {
		return nil, chosen, nil, err
	}
	if err = c.api.Permitted(ctx, use); err == nil {
		chosen, err = o.chooseNodes(ctx, c)
	}
	if err != nil {
		disconnect()
		return nil, chosen, nil, err
	}
	return c, chosen, disconnect, nil
}

// sameCluster is the beginning of a command for the same cluster or machines.
func (o *reader) sameCluster() string {
	return o.connectionFlags.commandLine() + o.transportArguments()
}

func (o *reader) chooseNodes(ctx context.Context, c *cluster) (fleet.Selection, error) {
	all, err := c.api.Nodes(ctx)
	if err != nil {
		return fleet.Selection{}, err
	}
	return o.selectNodes(all, o.now())
}

// recordedRotations scans the nodes and returns the rotations in their journals, newest first.
func (o *reader) recordedRotations(ctx context.Context, c *cluster, chosen fleet.Selection) ([]v1alpha1.PastRotation, []v1alpha1.NotInspected, error) {
	nodes, missing, err := c.Scanner.Scan(ctx, chosen.Names)
	if err != nil {
		return nil, nil, err
	}
	missing = append(chosen.Excluded, missing...)
	if err := fleet.NoneScanned(nodes, missing); err != nil {
		return nil, nil, err
	}
	for _, n := range nodes {
		for _, x := range n.NotInspected {
			if strings.HasPrefix(x.Reason, inventory.UnreadJournals) {
				missing = append(missing, plan.NotInspectedOn(n.Name, x))
			}
		}
	}
	return o.pastRotations(nodes), append([]v1alpha1.NotInspected{}, missing...), nil
}

func (o *reader) pastRotations(nodes []inventory.Node) []v1alpha1.PastRotation {
	// If only some nodes were read, another may have recorded the end of a rotation.
	return printers.PastRotations(nodes, o.sameCluster(), len(o.nodes) > 0, o.now())
}
