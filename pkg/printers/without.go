package printers

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// NoCertificate is a service without a certificate on a node.
type NoCertificate struct {
	Node    string
	Service certs.Service
	Reason  string
}

// WithoutCertificate says, in one line for all nodes of the same case, which services
// have nothing to renew, and why.
func WithoutCertificate(items []NoCertificate) []string {
	type group struct {
		service certs.Service
		reason  string
	}
	var order []group
	nodes := map[group][]string{}
	for _, b := range items {
		g := group{b.Service, strings.TrimSuffix(CleanText(b.Reason), ".")}
		g.reason = cmp.Or(g.reason, "it has no certificate there")
		if nodes[g] == nil {
			order = append(order, g)
		}
		nodes[g] = append(nodes[g], b.Node)
	}
	out := make([]string, 0, len(order))
	for _, g := range order {
		out = append(out, fmt.Sprintf("%s on %s: nothing to renew; %s.", g.service, SomeNames(nodes[g]), g.reason))
	}
	return out
}
