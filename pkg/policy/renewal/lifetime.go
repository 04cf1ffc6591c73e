package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// ValidityOf is the validity of the successors of the certificates with these fingerprints:
// the shortest that one of their rules sets. 0: no rule sets one. Other certificates that are
// renewed with them do not count: any node may report a certificate whose rule has a short
// validity.
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
