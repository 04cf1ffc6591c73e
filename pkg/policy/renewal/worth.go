package renewal

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// leastGain is what a renewal must add to a certificate's life: an hour, or a hundredth
// of a short life.
func (c *Certificate) leastGain() time.Duration { return min(time.Hour, c.life()/100) }

// worth judges whether a renewal now is worth its restart. It is not where the successor
// would be due again before the old certificate has ended: then its CA is about to end,
// or its lifetime is too short for its threshold. until is when that changes by the clock
// alone; zero: never.
func (p *Policy) worth(now time.Time, n *Node, c *Certificate, r *Rule) (why Reason, text string, until time.Time) {
	validity := p.validity(now, n, c, r)
	end, ca := now.Add(validity), n.issuer(c, now)
	why = ReasonNoGain
	text = fmt.Sprintf("a successor that is valid for %s would be due again before this one ends", certs.FormatDuration(validity))
	if ca != nil && ca.NotAfter.Before(end) {
		end, why = ca.NotAfter, ReasonCANearEnd
		text = fmt.Sprintf("its CA %q ends %s, and a successor with it: renew the CA", ca.Name, ca.NotAfter.UTC().Format(time.RFC3339))
	}
	old := later(c.NotAfter, now)
	if due := end.Add(-p.again(r, c, end.Sub(now))); !due.Before(old) && end.Sub(old) >= c.leastGain() {
		return "", "", time.Time{}
	}
	return why, text, p.worthFrom(now, c, r, end, why)
}

// worthFrom is when a renewal that is not worth it becomes so.
func (p *Policy) worthFrom(now time.Time, c *Certificate, r *Rule, end time.Time, why Reason) time.Time {
	if why == ReasonNoGain {
		// The successor's end moves with the clock: as long after now as ever.
		life := end.Sub(now)
		at := c.NotAfter.Add(p.again(r, c, life)).Add(-life)
		if life <= 0 || !at.After(now) {
			return time.Time{}
		}
		return at
	}
	// The end stands still, and the nearer it comes the shorter the successor's life and
	// threshold: it is due at the old end when that threshold is what is gained.
	gained := end.Sub(c.NotAfter)
	fraction := r.Threshold.Fraction
	if c.SelfManaged {
		fraction = r.SelfManaged.Fraction
	}
	if gained < c.leastGain() || fraction <= 0 {
		return time.Time{}
	}
	if at := end.Add(-time.Duration(float64(gained) / fraction)).Add(time.Second); at.After(now) {
		return at
	}
	return time.Time{}
}

// again is how long before its end a successor with that life will be due.
func (p *Policy) again(r *Rule, c *Certificate, life time.Duration) time.Duration {
	if c.SelfManaged {
		return r.SelfManaged.Of(life)
	}
	return r.Threshold.Of(life)
}

// validity is for how long a successor would be valid, its CA allowing: as before, where
// neither rule nor cluster says otherwise. A signer of the certificates API decides for
// itself: as before, as far as anyone can tell.
func (p *Policy) validity(now time.Time, n *Node, c *Certificate, r *Rule) time.Duration {
	switch {
	case c.SelfManaged:
		return c.life()
	case r.Validity != 0:
		return r.Validity
	case p.Lifetime != 0:
		return p.Lifetime
	}
	ca := n.issuer(c, now)
	return certs.ValidityFor(certs.LifeOf(c.NotBefore, c.NotAfter, now, ca != nil && ca.NotBefore.Equal(c.NotBefore)))
}
