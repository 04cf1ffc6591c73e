package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// MayStart returns why a requested rotation must not start now; empty: it may. The situation
// may have changed since the request: another rotation may have run for hours, a freeze may be
// in force, a window may have closed. nodes are those of the rotation; the rules of their
// certificates apply.
func MayStart(now time.Time, p *Policy, rotation Past, nodes []Node, history []Past) (Reason, string) {
	frozen := p.Freeze.isFrozen(now)
	if rotation.Compromised {
		if frozen && p.Freeze.HoldCompromised {
			return ReasonFreeze, p.Freeze.freezeText()
		}
	} else {
		others := slices.DeleteFunc(slices.Clone(history), func(h Past) bool { return h.Name == rotation.Name })
		if full, _ := dailyLimitReached(others, now, p.Limits.RotationsPerDay); full {
			return ReasonLimit, limitText(p.Limits.RotationsPerDay)
		}
	}
	known := false
	for i := range nodes {
		n := &nodes[i]
		named := rotation.servicesNamed(n)
		for j := range n.Certificates {
			c := &n.Certificates[j]
			switch {
			case rotation.concernsCertificate(refOf(n, c)):
				known = true
			case named[c.Service] || !rotation.coversService(n.Name, c.Service):
				continue // it is renewed together with a named one, or not in scope
			}
			r := p.RuleFor(n, c)
			if c.unrenewableReason(restartPolicyOf(r, rotation.Compromised)) != "" {
				continue // it is left out
			}
			if r.Mode == NotifyOnly {
				return ReasonNotifyOnly, "rule " + quoteName(r.Name) + " is notify-only"
			}
			if at, why := p.earliestStart(r, c, now); !rotation.Compromised && (at.IsZero() || at.After(now)) {
				return why, p.closedText(why, r, at)
			}
		}
	}
	if !known && !rotation.Compromised && frozen {
		return ReasonFreeze, p.Freeze.freezeText()
	}
	return "", ""
}

// servicesNamed are the services of which a rotation names a certificate on a node.
func (p *Past) servicesNamed(n *Node) map[certs.Service]bool {
	out := map[certs.Service]bool{}
	for i := range n.Certificates {
		if c := &n.Certificates[i]; p.concernsCertificate(refOf(n, c)) {
			out[c.Service] = true
		}
	}
	return out
}

// coversService is true if a service on a node is in the scope of a rotation.
func (p *Past) coversService(node string, service certs.Service) bool {
	return slices.Contains(p.Services, service) && (len(p.Nodes) == 0 || slices.Contains(p.Nodes, node))
}

// closedText is why renewals of a rule do not start before a moment; zero: never.
func (p *Policy) closedText(why Reason, r *Rule, until time.Time) string {
	switch {
	case why == ReasonFreeze:
		return p.Freeze.freezeText()
	case until.IsZero():
		return "no window of rule " + quoteName(r.Name) + " ever opens"
	}
	return "the windows of rule " + quoteName(r.Name) + " are closed"
}
