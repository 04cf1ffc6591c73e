package plan

import (
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// FindSigners returns the inventories with an issuer for each certificate that its own node
// cannot sign, and another one of them can: the nodes that have the key of the CA that signed
// it. nodes are not changed.
func FindSigners(nodes []inventory.Node) []inventory.Node {
	out := slices.Clone(nodes)
	for i := range out {
		n := &out[i]
		n.Certificates = slices.Clone(n.Certificates)
		for k := range n.Certificates {
			findSigner(n, &n.Certificates[k], nodes)
		}
	}
	return out
}

func findSigner(n *inventory.Node, c *inventory.Certificate, nodes []inventory.Node) {
	if c.Issuer.Kind != inventory.NoIssuer || c.Issuer.Authority == "" {
		return
	}
	signers := NodesWithKey(nodes, c.Issuer.Authority)
	if len(signers) == 0 {
		return
	}
	remark := ""
	if err := certs.CheckIdentity(c.Subject, n.Name, n.Known.ControlPlane); err != nil {
		remark = fmt.Sprintf("cannot be renewed: the key of its CA is on %s, and %v", signers[0], err)
	} else {
		c.Issuer.Kind = inventory.OtherNode
		c.Signers = signers
	}
	c.Reason = inventory.ReplaceRemark(c.Reason, c.Issuer.Reason, remark)
	c.Issuer.Reason = remark
}

// NeedsSignerOnly reports whether a certificate can be renewed as soon as another node has the key
// of its CA.
func NeedsSignerOnly(n *inventory.Node, c inventory.Certificate) bool {
	if c.Issuer.Kind != inventory.NoIssuer || c.Issuer.Authority == "" {
		return false
	}
	c.Issuer.Kind = inventory.OtherNode
	return ObstacleTo(n, c).Reason == ""
}

// NodesWithKey returns the nodes that have the key of a CA and a valid certificate of it, by
// name.
func NodesWithKey(nodes []inventory.Node, authority string) []string {
	var out []string
	for i := range nodes {
		if AuthorityOn(&nodes[i], authority) != nil {
			out = append(out, nodes[i].Name)
		}
	}
	slices.Sort(out)
	return out
}

// AuthorityOn returns a CA with which a node can sign: its key is there, and its certificate is
// valid. Of several certificates it is the one that expires last; nil: there is none.
func AuthorityOn(n *inventory.Node, id string) *inventory.Authority {
	var last *inventory.Authority
	for i := range n.Authorities {
		a := &n.Authorities[i]
		valid := a.Status != certs.Invalid && !n.Time.Before(a.NotBefore) && n.Time.Before(a.NotAfter)
		if a.ID == id && a.KeyOn != "" && len(a.Paths) > 0 && valid && (last == nil || a.NotAfter.After(last.NotAfter)) {
			last = a
		}
	}
	return last
}
