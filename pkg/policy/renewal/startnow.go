package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// MayStart says why a rotation that was asked for must not begin now; empty: it may. What
// held when it was asked for may hold no more when its turn comes: another one may have run
// for hours, a freeze may have been written, a window have closed. Nodes are those that it
// is about; what the policy says of their certificates counts.
func MayStart(now time.Time, p *Policy, rotation Past, nodes []Node, history []Past) (Reason, string) {
	frozen := p.Freeze.holds(now)
	if rotation.Compromised {
		if frozen && p.Freeze.HoldCompromised {
			return ReasonFreeze, p.Freeze.text()
		}
	} else {
		others := slices.DeleteFunc(slices.Clone(history), func(h Past) bool { return h.Name == rotation.Name })
		if full, _ := today(others, now, p.Limits.RotationsPerDay); full {
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
			case rotation.about(refOf(n, c)):
				known = true
			case named[c.Service] || !rotation.covers(n.Name, c.Service):
				continue // it comes along with the one that is named, or is not in scope
			}
			r := p.RuleFor(n, c)
			if c.unrenewable(restart(r, rotation.Compromised)) != "" {
				continue // it is left out
			}
			if r.Mode == NotifyOnly {
				return ReasonNotifyOnly, "rule " + quoted(r.Name) + " only notifies"
			}
			if at, why := p.start(r, c, now); !rotation.Compromised && (at.IsZero() || at.After(now)) {
				return why, p.closed(why, r, at)
			}
		}
	}
	if !known && !rotation.Compromised && frozen {
		return ReasonFreeze, p.Freeze.text()
	}
	return "", ""
}

// servicesNamed are the services of which a rotation names a certificate on a node.
func (p *Past) servicesNamed(n *Node) map[certs.Service]bool {
	out := map[certs.Service]bool{}
	for i := range n.Certificates {
		if c := &n.Certificates[i]; p.about(refOf(n, c)) {
			out[c.Service] = true
		}
	}
	return out
}

// covers says whether a service on a node is in a rotation's scope.
func (p *Past) covers(node string, service certs.Service) bool {
	return slices.Contains(p.Services, service) && (len(p.Nodes) == 0 || slices.Contains(p.Nodes, node))
}

// closed says what keeps a rule's renewals from starting before a moment; zero: for ever.
func (p *Policy) closed(why Reason, r *Rule, until time.Time) string {
	switch {
	case why == ReasonFreeze:
		return p.Freeze.text()
	case until.IsZero():
		return "no window of rule " + quoted(r.Name) + " ever opens"
	}
	return "the windows of rule " + quoted(r.Name) + " are closed"
}
