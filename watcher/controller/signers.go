package controller

import (
	"maps"
	"slices"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// refreshKeys finds the CAs whose key a control-plane node has. If they have changed, the nodes
// with certificates that need them have changed, too.
func (p *Picture) refreshKeys() {
	keys := map[string]bool{}
	for _, s := range p.nodes {
		for i := range s.node.Authorities {
			if a := &s.node.Authorities[i]; s.exists && s.node.ControlPlane && a.HasKey && a.ID != "" {
				keys[a.ID] = true
			}
		}
	}
	if maps.Equal(keys, p.keys) {
		return
	}
	p.keys = keys
	for name, s := range p.nodes {
		if slices.ContainsFunc(s.node.Certificates, func(c renewal.Certificate) bool { return c.Authority != "" }) {
			p.dirty[name] = true
		}
	}
}

// IsSignedElsewhere reports whether another node can sign a certificate of a report that its own
// node cannot sign.
func (p *Picture) IsSignedElsewhere(node string, c *v1alpha1.ReportedCertificate) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.nodes[node]
	return s != nil && c.NotRenewable != nil && p.keys[c.NotRenewable.Authority] && certs.CheckIdentity(c.Subject, node, s.node.ControlPlane) == nil
}
