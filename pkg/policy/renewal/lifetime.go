package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// ValidityOf is for how long the new certificates of services on nodes are to be valid: the
// shortest time that a rule for one of them gives. 0: no rule gives one.
func (p *Policy) ValidityOf(services []certs.Service, nodes []Node) time.Duration {
	var shortest time.Duration
	for i := range nodes {
		for k := range nodes[i].Certificates {
			c := &nodes[i].Certificates[k]
			if !slices.Contains(services, c.Service) {
				continue
			}
			if v := p.RuleFor(&nodes[i], c).Validity; v > 0 && (shortest == 0 || v < shortest) {
				shortest = v
			}
		}
	}
	return shortest
}
