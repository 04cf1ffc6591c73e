package gate

import (
	"net"
	"net/url"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Unscanned is a control-plane node of which there is no inventory, and why.
type Unscanned struct{ Node, Reason string }

// Peers returns the API servers that must be requested from another node: those of
// scanned nodes where no process of ours runs (ours says where one does), and those that
// cannot be requested on their own node.
func Peers(nodes []inventory.Node, ours func(node string) bool) []inventory.Peer {
	var out []inventory.Peer
	for i := range nodes {
		c := nodes[i].ComponentOf(certs.KubeAPIServer)
		if c == nil || ours(nodes[i].Name) && c.Health != "" {
			continue
		}
		if address := reachable(nodes[i], c.APIServer); address != "" {
			out = append(out, inventory.Peer{Node: nodes[i].Name, Address: address})
		}
	}
	return out
}

// reachable is an API server's address for other nodes; empty where it is not known.
func reachable(n inventory.Node, advertised string) string {
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

// Answered adds what nodes know of the API servers of others. One that any of them finds
// ready is ready.
func Answered(healths []inventory.Health, peers []inventory.Peer) []inventory.Health {
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

// Coverage returns the control-plane nodes whose API server has given no answer: the gate
// cannot know that the cluster would still have an API without the next node.
func Coverage(nodes []inventory.Node, unscanned []Unscanned, healths []inventory.Health) []Finding {
	var out findings
	for i := range nodes {
		n := &nodes[i]
		c := n.ComponentOf(certs.KubeAPIServer)
		answered := slices.ContainsFunc(healths, func(h inventory.Health) bool { return h.Node == n.Name && h.APIServer != nil })
		switch {
		case answered:
		case c != nil:
			out.add("unasked "+n.Name, "%s runs an API server, and it could not be requested whether that is ready", n.Name)
		case n.Known.ControlPlane:
			out.add("unasked "+n.Name, "%s has the label of a control-plane node, and no API server was found there that could be requested", n.Name)
		}
	}
	for _, u := range unscanned {
		out.add("unasked "+u.Node, "%s is a control-plane node, and its API server could not be requested: %s", u.Node, u.Reason)
	}
	return out
}

// Without returns what the others say of the cluster, without a node's own answers and
// without its etcd member: what must be in order before a process there may put files
// back and restart components.
func Without(healths []inventory.Health, node *inventory.Node) []inventory.Health {
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

// runsOn says whether an etcd member is that of a node: by its name, which kubeadm makes
// that of the node, or by an address.
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

// hostOf is the host of a URL; empty where it is none.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Hostname()
}
