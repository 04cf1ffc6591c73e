package fleet

import (
	"context"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// scanAll scans the named nodes. Where it finds a part of the control plane on a node
// that has no label of one, labels do not tell where the others are: then all nodes are
// scanned. now is the moment before it.
func scanAll(ctx context.Context, scanner Scanner, all []kubenode.Node, names []string, now time.Time) ([]inventory.Node, []plan.NotInspected, error) {
	began := time.Now()
	nodes, missing, err := scanner.Scan(ctx, names)
	if err != nil {
		return nil, nil, err
	}
	if slices.ContainsFunc(nodes, func(n inventory.Node) bool { return n.ControlPlane() && !hasControlPlaneLabel(n.Name, all) }) {
		if rest := otherNodes(all, names, now); len(rest) > 0 {
			more, _, err := scanner.Scan(ctx, rest) // these were not asked for: one that is missing is not listed
			if err != nil {
				return nil, nil, err
			}
			nodes = append(nodes, slices.DeleteFunc(more, func(n inventory.Node) bool { return !n.ControlPlane() })...)
		}
	}
	until := now.Add(time.Since(began))
	for i := range nodes {
		n := &nodes[i]
		for _, known := range all {
			if known.Name == n.Name {
				n.Known = inventory.Known{ControlPlane: known.ControlPlane, Etcd: known.Etcd, Addresses: known.InternalIPs()}
			}
		}
		if n.Scanned.To.IsZero() {
			n.Scanned = inventory.Scanned{From: now, To: until}
		}
	}
	return nodes, missing, nil
}

func hasControlPlaneLabel(name string, all []kubenode.Node) bool {
	return slices.ContainsFunc(all, func(n kubenode.Node) bool { return n.Name == name && (n.ControlPlane || n.Etcd) })
}

// otherNodes returns the nodes that can be scanned and are not among the named ones.
func otherNodes(all []kubenode.Node, names []string, now time.Time) []string {
	var out []string
	for _, n := range all {
		if _, excluded := n.Excluded(now); !excluded && !slices.Contains(names, n.Name) {
			out = append(out, n.Name)
		}
	}
	return out
}

// controlPlaneWithout returns the nodes with the label of a control-plane node of which
// there is no inventory, and why.
func controlPlaneWithout(nodes []inventory.Node, all []kubenode.Node, missing []plan.NotInspected, now time.Time) []gate.Unscanned {
	var out []gate.Unscanned
	for _, n := range all {
		if !n.ControlPlane || slices.ContainsFunc(nodes, func(found inventory.Node) bool { return found.Name == n.Name }) {
			continue
		}
		reason, excluded := n.Excluded(now)
		if !excluded {
			reason = "it could not be scanned"
		}
		for _, x := range missing {
			if x.Node == n.Name && x.Service == "" && x.Path == "" {
				reason = x.Reason
			}
		}
		out = append(out, gate.Unscanned{Node: n.Name, Reason: reason})
	}
	return out
}
