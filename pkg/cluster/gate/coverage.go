package gate

import (
	"cmp"
	"net"
	"net/url"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Unscanned is a control-plane node without inventory, and the reason.
type Unscanned struct{ Node, Reason string }

// PeersToProbe returns the API servers that must be probed from another node: those of scanned
// nodes on which no process of this program runs (see ours), and those that cannot be probed
// on their own node.
func PeersToProbe(nodes []inventory.Node, ours func(node string) bool) []inventory.Peer {
	var out []inventory.Peer
	for i := range nodes {
		c := nodes[i].ComponentOf(certs.KubeAPIServer)
		if c == nil || ours(nodes[i].Name) && c.Health != "" {
			continue
		}
		if address := reachableAddress(nodes[i], c.APIServer); address != "" {
			out = append(out, inventory.Peer{Node: nodes[i].Name, Address: address})
		}
	}
	return out
}

// reachableAddress is the address of an API server for other nodes; empty: unknown.
func reachableAddress(n inventory.Node, advertised string) string {
	host, port, err := net.SplitHostPort(advertised)
	if err != nil {
		return ""
	}
	ip := net.ParseIP(host)
	switch {
	case host != "localhost" && (ip == nil && host != "" || ip != nil && !ip.IsLoopback() && !ip.IsUnspecified()):
		return advertised
	case len(n.Known.Addresses) > 0:
		return net.JoinHostPort(n.Known.Addresses[0], port)
	}
	return ""
}

// WithPeerAnswers adds the probes of API servers from other nodes. One healthy probe is
// enough.
func WithPeerAnswers(healths []inventory.Health, peers []inventory.Peer) []inventory.Health {
	out := slices.Clone(healths)
	for _, p := range peers {
		var best *inventory.Probe
		for _, h := range healths {
			for _, other := range h.Others {
				if other.Node == p.Node && (best == nil || other.Healthy) {
					best = &other.Probe
				}
			}
		}
		if best != nil {
			out = append(out, inventory.Health{Node: p.Node, APIServer: best})
		}
	}
	return out
}

// CheckCoverage returns the control-plane nodes whose API server has not answered: it is
// unknown whether the cluster would still have an API without the next node.
func CheckCoverage(nodes []inventory.Node, unscanned []Unscanned, healths []inventory.Health) []Finding {
	var out findings
	for i := range nodes {
		n := &nodes[i]
		c := n.ComponentOf(certs.KubeAPIServer)
		answered := slices.ContainsFunc(healths, func(h inventory.Health) bool { return h.Node == n.Name && h.APIServer != nil })
		switch {
		case answered:
		case c != nil:
			out.addOnce("no answer of "+n.Name, "%s: the API server did not report whether it is ready", n.Name)
		case n.Known.ControlPlane:
			out.addOnce("no answer of "+n.Name, "%s has the label of a control-plane node, but no API server was found on it", n.Name)
		}
	}
	for _, u := range unscanned {
		out.addOnce("no answer of "+u.Node, "%s is a control-plane node, and its API server could not be probed: %s", u.Node, u.Reason)
	}
	return out
}

// CheckMembers returns the members of etcd that run on none of the scanned nodes. Without a lock that
// all nodes of the cluster share, another rotation may restart such a member at any time.
func CheckMembers(nodes []inventory.Node, healths []inventory.Health) []Finding {
	var out findings
	for _, m := range AbsentMembers(nodes, healths) {
		where := cmp.Or(strings.Join(m.ClientURLs, ", "), "unknown address")
		out.addOnce(memberKey(m)+" is not scanned", "etcd member %q (%s) is on none of the hosts: "+
			"without the cluster's lock, another rotation could restart it at the same time", m.Name, where)
	}
	return out
}

// AbsentMembers returns the members of etcd that run on none of the scanned nodes, each once. They
// may be healthy.
func AbsentMembers(nodes []inventory.Node, healths []inventory.Health) []inventory.Member {
	var out []inventory.Member
	for _, h := range healths {
		if h.Etcd == nil {
			continue
		}
		for _, m := range h.Etcd.Members {
			own := func(other inventory.Health) bool { return other.Etcd != nil && other.Etcd.LocalID == m.ID }
			scanned := func(n inventory.Node) bool { return runsOn(&n, m) }
			known := func(other inventory.Member) bool { return other.ID == m.ID }
			if !slices.ContainsFunc(healths, own) && !slices.ContainsFunc(nodes, scanned) && !slices.ContainsFunc(out, known) {
				out = append(out, m)
			}
		}
	}
	return out
}

// WithoutNode returns the health of the cluster without a node's own answers and its etcd
// member. Before a process on the node may roll back and restart components, the rest of the
// cluster must be healthy.
func WithoutNode(healths []inventory.Health, node *inventory.Node) []inventory.Health {
	var out []inventory.Health
	for _, h := range healths {
		if h.Node == node.Name {
			continue
		}
		if h.Etcd != nil {
			others := *h.Etcd
			others.Members = slices.DeleteFunc(slices.Clone(h.Etcd.Members), func(m inventory.Member) bool { return runsOn(node, m) })
			h.Etcd = &others
		}
		out = append(out, h)
	}
	return out
}

// runsOn is true for the etcd member of a node: by its name, which kubeadm sets to that of the
// node, or by an address.
func runsOn(n *inventory.Node, m inventory.Member) bool {
	c := n.ComponentOf(certs.Etcd)
	if c == nil {
		return false
	}
	hosts := slices.Clone(n.Known.Addresses)
	for _, u := range c.ClientURLs {
		hosts = append(hosts, hostOf(u))
	}
	return m.Name == n.Name || slices.ContainsFunc(m.ClientURLs, func(u string) bool {
		host := hostOf(u)
		ip := net.ParseIP(host)
		return host != "" && (ip == nil || !ip.IsLoopback()) && slices.Contains(hosts, host)
	})
}

// hostOf is the host of a URL; empty: the URL is invalid.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
