package ssh

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// scanHost scans a host and keeps the inventory for the next Scan. name is that of an earlier
// scan; empty: the node says it.
func (h *Hosts) scanHost(ctx context.Context, host *host, name string) error {
	args := []string{nodeapi.CommandScan}
	if name != "" {
		args = append(args, "--node-name="+name)
	}
	var n inventory.Node
	from := time.Now()
	if err := host.call(ctx, &n, args...); err != nil {
		return err
	}
	n.Scanned = inventory.Scanned{From: from, To: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch other := h.byNode[n.Name]; {
	case n.Name == "" || name != "" && n.Name != name:
		return fmt.Errorf("host %q: its inventory is of node %q", host.address, n.Name)
	case other != nil && other != host:
		return fmt.Errorf("hosts %q and %q are both node %q", other.address, host.address, n.Name)
	}
	h.byNode[n.Name] = host
	h.found[n.Name] = n
	h.roles[n.Name] = roleOf(&n)
	return nil
}

// role is what a label says of a node where the API answers.
type role int

const (
	worker role = iota
	controlPlane
	etcdHost // runs etcd, and no other part of the control plane
)

func roleOf(n *inventory.Node) role {
	switch {
	case !n.ControlPlane():
		return worker
	case n.ComponentOf(certs.KubeAPIServer) == nil && n.ComponentOf(certs.KubeControllerManager) == nil && n.ComponentOf(certs.KubeScheduler) == nil:
		return etcdHost
	}
	return controlPlane
}

// Has reports whether a node is among the hosts.
func (h *Hosts) Has(node string) bool { return h.hostOf(node) != nil }

func (h *Hosts) hostOf(node string) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byNode[node]
}

// Scan returns the inventories of the named nodes; the first is that of Connect.
func (h *Hosts) Scan(ctx context.Context, nodes []string) ([]inventory.Node, []plan.NotInspected, error) {
	failures := make([]error, len(nodes))
	_ = eachOf(nodes, func(i int, name string) error { // see failures
		h.mu.Lock()
		host := h.byNode[name]
		_, fresh := h.found[name]
		h.mu.Unlock()
		if host != nil && !fresh {
			failures[i] = h.scanHost(ctx, host, name)
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []inventory.Node
	var missing []plan.NotInspected
	for i, name := range nodes {
		n, ok := h.found[name]
		switch {
		case ok:
			found = append(found, n)
			delete(h.found, name)
		case failures[i] != nil:
			missing = append(missing, plan.NotInspected{Node: name, Reason: failures[i].Error()})
		default:
			missing = append(missing, plan.NotInspected{Node: name, Reason: "it is not among the hosts"})
		}
	}
	return found, missing, nil
}

// ScanAll returns the inventories of all hosts.
func (h *Hosts) ScanAll(ctx context.Context) ([]inventory.Node, []plan.NotInspected, error) {
	return h.Scan(ctx, h.names())
}

// Nodes returns the hosts as nodes.
func (h *Hosts) Nodes(context.Context) ([]kubenode.Node, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []kubenode.Node
	for name, host := range h.byNode {
		out = append(out, kubenode.Node{
			Name: name, Ready: true, OS: "linux", ControlPlane: h.roles[name] == controlPlane, Etcd: h.roles[name] == etcdHost,
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: withoutUser(host.address)}},
		})
	}
	slices.SortFunc(out, func(a, b kubenode.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Scanned returns the inventories that Connect found and that no Scan has returned yet.
func (h *Hosts) Scanned() []inventory.Node {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []inventory.Node
	for _, name := range slices.Sorted(maps.Keys(h.found)) {
		out = append(out, h.found[name])
	}
	return out
}

// WithKubelet returns the hosts on which the scan of Connect found a kubelet, as nodes.
func (h *Hosts) WithKubelet() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for name, n := range h.found {
		if n.ComponentOf(certs.Kubelet) != nil {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

func (h *Hosts) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.byNode))
}

func (h *Hosts) keepScan(n inventory.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.found[n.Name] = n
}

// forgetScans makes the next Scan read the nodes again.
func (h *Hosts) forgetScans() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.found)
}
