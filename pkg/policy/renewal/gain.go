package renewal

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// minGain is how much time a renewal must gain: an hour, or a hundredth of a short life.
func (c *Certificate) minGain() time.Duration { return min(time.Hour, c.lifeSpan()/100) }

// judgeGain returns why a renewal now gains too little for its restart: the new certificate
// would be due again before the old one expires. Then its CA expires soon, or its validity is
// too short for its threshold. until is when that changes by time alone; zero: never.
func (p *Policy) judgeGain(now time.Time, n *Node, c *Certificate, r *Rule) (why Reason, text string, until time.Time) {
	validity := p.successorValidity(now, n, c, r)
	end := now.Add(validity)
	ca := n.issuerOf(c, now)
	why = ReasonNoGain
	text = fmt.Sprintf("a new certificate that is valid for %s would be due again before this one expires", certs.FormatDuration(validity))
	if ca != nil && ca.NotAfter.Before(end) {
		end = ca.NotAfter
		why = ReasonCAExpiresSoon
		text = fmt.Sprintf("its CA %q expires at %s, and a new certificate with it: replace the CA", ca.Name, ca.NotAfter.UTC().Format(time.RFC3339))
	}
	old := laterOf(c.NotAfter, now)
	if due := end.Add(-p.successorDueBefore(r, c, end.Sub(now))); !due.Before(old) && end.Sub(old) >= c.minGain() {
		return "", "", time.Time{}
	}
	return why, text, p.gainfulFrom(now, c, r, end, why)
}

// gainfulFrom is when a renewal gains enough.
func (p *Policy) gainfulFrom(now time.Time, c *Certificate, r *Rule, end time.Time, why Reason) time.Time {
	if why == ReasonNoGain {
		// The expiry of the new certificate moves with the clock.
		life := end.Sub(now)
		at := c.NotAfter.Add(p.successorDueBefore(r, c, life)).Add(-life)
		if life <= 0 || !at.After(now) {
			return time.Time{}
		}
		return at
	}
	// The expiry of the CA is fixed. As it approaches, the life and threshold of the new
	// certificate become shorter: a renewal is useful once that threshold is the time gained.
	gained := end.Sub(c.NotAfter)
	fraction := r.Threshold.Fraction
	if c.SelfManaged {
		fraction = r.SelfManaged.Fraction
	}
	if gained < c.minGain() || fraction <= 0 {
		return time.Time{}
	}
	if at := end.Add(-time.Duration(float64(gained) / fraction)).Add(time.Second); at.After(now) {
		return at
	}
	return time.Time{}
}

// successorDueBefore is how long before its expiry a new certificate with that life is due.
func (p *Policy) successorDueBefore(r *Rule, c *Certificate, life time.Duration) time.Duration {
	if c.SelfManaged {
		return r.SelfManaged.PartOf(life)
	}
	return r.Threshold.PartOf(life)
}

// successorValidity is the validity of a new certificate, if its CA permits it: that of the
// old one, unless rule or cluster have another. Signers of the certificates API have their
// own: that of the old one is assumed.
func (p *Policy) successorValidity(now time.Time, n *Node, c *Certificate, r *Rule) time.Duration {
	switch {
	case c.SelfManaged:
		return c.lifeSpan()
	case r.Validity != 0:
		return r.Validity
	case p.Lifetime != 0:
		return p.Lifetime
	}
	ca := n.issuerOf(c, now)
	return certs.ValidityFor(certs.LifeOf(c.NotBefore, c.NotAfter, now, ca != nil && ca.NotBefore.Equal(c.NotBefore)))
}
