package kubenode

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// CheckNames returns the serving certificates of a node that lack the current names of the
// node. ips and names are those of the Node object.
//
// A certificate with IP addresses must have one of the node (loopback and service addresses do
// not count); one with names only must have one of its names. A renewal keeps the names, so it
// does not fix this.
func CheckNames(n inventory.Node, ips, names []string) []inventory.Finding {
	var out []inventory.Finding
	names = append(slices.Clone(names), n.Name)
	services := serviceRanges(n)
	for _, c := range n.Certificates {
		serves := slices.Contains([]certs.Service{certs.Etcd, certs.KubeAPIServer, certs.Kubelet}, c.Service) &&
			c.Client == nil && slices.Contains(c.Usages, "server auth")
		if !serves || len(c.SANs) == 0 {
			continue
		}
		var own []netip.Addr
		var hosts []string
		for _, san := range c.SANs {
			a, err := netip.ParseAddr(san)
			switch {
			case err != nil:
				hosts = append(hosts, san)
			case !a.IsLoopback() && !slices.ContainsFunc(services, func(p netip.Prefix) bool { return p.Contains(a) }):
				own = append(own, a)
			}
		}
		switch {
		case len(own) > 0 && len(ips) > 0 && !slices.ContainsFunc(ips, func(ip string) bool { return slices.Contains(own, parseAddress(ip)) }):
			out = append(out, namesFinding(c, "address "+strings.Join(ips, ", "), c.SANs))
		case len(own) == 0 && len(hosts) > 0 && !slices.ContainsFunc(names, func(name string) bool { return matchesName(hosts, name) }):
			out = append(out, namesFinding(c, "name "+strings.Join(names, ", "), hosts))
		}
	}
	return out
}

func namesFinding(c inventory.Certificate, lacks string, has []string) inventory.Finding {
	return inventory.Finding{Kind: inventory.Names, Service: c.Service, Path: c.Store.Cert, Text: fmt.Sprintf(
		"%s does not have the node's %s, but %s; a renewal keeps the names: create a new certificate with the right ones", c.Name, lacks, strings.Join(has, ", "))}
}

// parseAddress returns the zero Addr for an invalid address.
func parseAddress(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a
}

// serviceRanges are the service ranges: the certificate of every API server has the first
// address of each.
func serviceRanges(n inventory.Node) []netip.Prefix {
	c := n.ComponentOf(certs.KubeAPIServer)
	if c == nil {
		return nil
	}
	var out []netip.Prefix
	for _, arg := range c.Args {
		value, found := strings.CutPrefix(strings.TrimLeft(arg, "-"), "service-cluster-ip-range=")
		if !found {
			continue
		}
		for part := range strings.SplitSeq(value, ",") {
			if p, err := netip.ParsePrefix(part); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

// matchesName is true if one of the names of a certificate matches, including wildcards.
func matchesName(hosts []string, name string) bool {
	_, domain, _ := strings.Cut(name, ".")
	return slices.ContainsFunc(hosts, func(h string) bool {
		return strings.EqualFold(h, name) || (domain != "" && strings.EqualFold(h, "*."+domain))
	})
}
