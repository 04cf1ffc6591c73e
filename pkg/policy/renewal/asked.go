package renewal

import (
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Asked is a rotation that was created because another cluster asked for it.
type Asked struct {
	Created time.Time
	Open    bool // it has not ended
}

// RefuseAsked returns why a rotation that another cluster asks for is refused; empty: it is
// permitted. Windows do not apply: a user asks for it now.
func (p *Policy) RefuseAsked(now time.Time, services []certs.Service, past []Asked) string {
	for _, service := range services {
		if !slices.Contains(p.FleetServices, service) {
			return fmt.Sprintf("the RotationPolicy does not permit other clusters to ask for %s (fleetRequests.services)", service)
		}
	}
	switch {
	case len(services) == 0:
		return "it names no service"
	case p.Default.Mode == NotifyOnly:
		return "the policy is notify-only"
	case p.Freeze.isFrozen(now):
		return p.Freeze.freezeText()
	}
	recent := 0
	for _, one := range past {
		if one.Open {
			return "a rotation that was asked for has not ended"
		}
		if now.Sub(one.Created) < certs.Day {
			recent++
		}
	}
	if limit := p.Limits.RotationsPerDay; limit > 0 && recent >= limit {
		return limitText(limit)
	}
	return ""
}
