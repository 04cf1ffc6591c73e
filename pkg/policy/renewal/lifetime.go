package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// ValidityOf is for how long the successors of certificates are to be valid, which are named
// by fingerprint: the shortest time that a rule for one of them gives. 0: no rule gives one.
// What else is renewed with them has no say: any node may report a certificate to which a rule
// gives a short life.
func (p *Policy) ValidityOf(services []certs.Service, nodes []Node, fingerprints []string) time.Duration {
	var shortest time.Duration
	for i := range nodes {
		for k := range nodes[i].Certificates {
			c := &nodes[i].Certificates[k]
			if !slices.Contains(services, c.Service) || !slices.Contains(fingerprints, c.Fingerprint) {
				continue
			}
			if v := p.RuleFor(&nodes[i], c).Validity; v > 0 && (shortest == 0 || v < shortest) {
				shortest = v
			}
		}
	}
	return shortest
}
