package plugin

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// nodeFlags select the nodes of a command by name or by labels; without them, all nodes.
type nodeFlags struct {
	nodes    []string
	selector string
}

func (f *nodeFlags) addNodeFlags(cmd *cobra.Command, usage string, completion cobra.CompletionFunc) {
	set := cmd.Flags()
	set.StringSliceVar(&f.nodes, "node", nil, usage)
	set.StringVarP(&f.selector, "selector", "l", "", "Only nodes with these labels, such as env=test")
	completeFlag(cmd, "node", completion)
}

// validateNodes refuses flags without a value: an empty variable in a script must not select
// every node.
func (f *nodeFlags) validateNodes(cmd *cobra.Command) (err error) {
	if f.nodes, err = namedNodes(cmd, f.nodes); err != nil {
		return err
	}
	switch selector, err := labels.Parse(f.selector); {
	case !cmd.Flags().Changed("selector"):
		return nil
	case err != nil:
		return fmt.Errorf("read --selector %q: %w", f.selector, err)
	case selector.Empty():
		return hint.AddTo(errors.New("--selector names no label"), "leave it out to select every node")
	case len(f.nodes) > 0:
		return hint.AddTo(errors.New("--node and --selector exclude each other"), "give one of them")
	}
	return nil
}

// selectNodes chooses among the cluster's nodes. It resolves the selector into f.nodes.
func (f *nodeFlags) selectNodes(all []kubenode.Node, now time.Time) (fleet.Selection, error) {
	if f.selector != "" {
		var err error
		if f.nodes, err = fleet.Matching(all, f.selector); err != nil {
			return fleet.Selection{}, err
		}
	}
	return fleet.Choose(all, f.nodes, now)
}

// namedNodes are the nodes that --node names.
func namedNodes(cmd *cobra.Command, given []string) ([]string, error) {
	nodes := trimmedList(given)
	if len(nodes) == 0 && cmd.Flags().Changed("node") {
		return nil, hint.AddTo(errors.New("--node names no node"), "leave it out to select every node")
	}
	return nodes, nil
}
