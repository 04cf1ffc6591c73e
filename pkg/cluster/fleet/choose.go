package fleet

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// Selection says which nodes are scanned, and which are not and for which reason.
type Selection struct {
	Names    []string
	Excluded []plan.NotInspected
	Managed  string // the provider that runs the control plane elsewhere ("EKS"); empty: none is known
}

// Choose chooses among the cluster's nodes: those of the given names, or all.
// A name that does not exist is an error.
func Choose(all []kubenode.Node, names []string, now time.Time) (Selection, error) {
	chosen, err := kubenode.Select(all, names)
	if err != nil {
		return Selection{}, err
	}
	var s Selection
	s.Names, s.Excluded = kubenode.Partition(chosen, now)
	if len(names) == 0 {
		s.Managed = kubenode.ManagedControlPlane(all)
	}
	return s, nil
}

// ErrSelector means that a node selector is wrong, or that no node has the labels.
var ErrSelector = errors.New("no node is selected")

// Matching returns the names of the nodes whose labels a selector matches; at least one, or an
// error that wraps [ErrSelector].
func Matching(all []kubenode.Node, selector string) ([]string, error) {
	matches, err := labels.Parse(selector)
	if err != nil {
		return nil, fmt.Errorf("%w by %q: %w", ErrSelector, selector, err)
	}
	var names []string
	for _, n := range all {
		if matches.Matches(labels.Set(n.Labels)) {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil, hint.AddTo(fmt.Errorf("%w by %q: none has such labels", ErrSelector, selector), "kubectl get nodes --show-labels")
	}
	return names, nil
}

// splitExisting returns the names of nodes that exist, and the others as exclusions.
func splitExisting(all []kubenode.Node, names []string) (left []string, gone []plan.NotInspected) {
	known := map[string]bool{}
	for _, n := range all {
		known[n.Name] = true
	}
	for _, name := range names {
		if known[name] {
			left = append(left, name)
			continue
		}
		gone = append(gone, plan.NotInspected{Node: name, Reason: "the cluster has no node of this name"})
	}
	return left, gone
}

// withControlPlane adds the control-plane nodes that can be scanned: a rotation of
// some nodes still has to know the highest fencing token and how many members etcd has.
func (s Selection) withControlPlane(all []kubenode.Node, now time.Time) []string {
	names := slices.Clone(s.Names)
	for _, n := range all {
		if _, out := n.Excluded(now); (n.ControlPlane || n.Etcd) && !out && !slices.Contains(names, n.Name) {
			names = append(names, n.Name)
		}
	}
	slices.Sort(names)
	return names
}

// refuseUnavailable refuses a rotation of nodes that were asked for by name and that cannot be
// worked on. Others that are unavailable are only listed.
func refuseUnavailable(names []string, missing []plan.NotInspected) error {
	var unavailable []string
	for _, x := range missing {
		if slices.Contains(names, x.Node) && x.Service == "" && x.Path == "" {
			unavailable = append(unavailable, fmt.Sprintf("%s: %s", x.Node, x.Reason))
		}
	}
	if len(unavailable) == 0 {
		return nil
	}
	return fmt.Errorf("cannot work on %s, so nothing was changed:\n  %s\nrun again when it can be reached, or without it",
		namedNodes(len(unavailable)), strings.Join(unavailable, "\n  "))
}

func namedNodes(n int) string {
	if n == 1 {
		return "a node that was named"
	}
	return fmt.Sprintf("%d nodes that were named", n)
}

// markUnconcerned marks as informational those workers that a rotation of the control plane's
// services is not about.
func markUnconcerned(missing []plan.NotInspected, all []kubenode.Node, req plan.Request) []plan.NotInspected {
	if slices.Contains(req.Services, certs.Kubelet) || slices.Contains(req.Services, certs.KubeProxy) {
		return missing
	}
	out := slices.Clone(missing)
	for i, x := range out {
		worker := func(n kubenode.Node) bool { return n.Name == x.Node && !n.ControlPlane }
		if x.Service == "" && x.Path == "" && slices.ContainsFunc(all, worker) {
			out[i].Informational = true
		}
	}
	return out
}

// ErrNoNode means that no node could be scanned.
var ErrNoNode = errors.New("no node could be scanned")

// numbers are what differs between two tellings of one cause: pod names, addresses,
// times.
var numbers = regexp.MustCompile(`[0-9a-z]*[0-9][0-9a-z]*`)

// NoneScanned explains why nothing is known; nil where something is.
func NoneScanned(nodes []inventory.Node, missing []plan.NotInspected) error {
	if len(nodes) > 0 {
		return nil
	}
	if len(missing) == 0 {
		return fmt.Errorf("%w: the cluster has none", ErrNoNode)
	}
	// The cause is usually the same for all of them: it is printed once, in the first
	// node's words.
	type cause struct {
		reason string
		nodes  []string
	}
	var causes []*cause
	byKey := map[string]*cause{}
	for _, x := range missing {
		key := numbers.ReplaceAllString(strings.ReplaceAll(x.Reason, x.Node, ""), "#")
		if byKey[key] == nil {
			byKey[key] = &cause{reason: x.Reason}
			causes = append(causes, byKey[key])
		}
		byKey[key].nodes = append(byKey[key].nodes, x.Node)
	}
	lines := make([]string, 0, len(causes))
	for _, c := range causes {
		lines = append(lines, "  "+printers.SomeNames(c.nodes)+": "+c.reason)
	}
	return fmt.Errorf("%w:\n%s", ErrNoNode, strings.Join(lines, "\n"))
}
