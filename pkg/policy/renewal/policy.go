// Package renewal decides which certificates of a cluster are renewed by themselves,
// when, and what is told to people. Its functions are pure: the time, the certificates,
// the policy and what happened before come in, a decision comes out.
//
// [Assess] looks at one node and says when the clock alone will change that; its result
// can be kept until then, or until the node changes. [Decide] looks at the few nodes that
// have something due, at what is compromised and at what was tried before.
package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Policy is what an operator allows.
type Policy struct {
	// Rules are asked in order; the first that matches a certificate counts. Where none
	// does, Default counts; its Match is not looked at.
	Rules   []Rule
	Default Rule
	// Authorities is how near its end a CA is told of.
	Authorities Near
	Freeze      Freeze
	Limits      Limits
	Retry       Retry
	// Lifetime is for how long a successor is valid where its rule does not say: as the
	// cluster's kubeadm configuration has it. 0: each lives as long as its predecessor.
	Lifetime time.Duration
}

// Mode says whether a rule acts.
type Mode string

// The modes.
const (
	Automatic  Mode = "automatic"
	NotifyOnly Mode = "notify-only" // events only; nothing starts by itself, not even for a compromise
)

// Rule is what holds for the certificates that it matches.
type Rule struct {
	Name      string
	Match     Match
	Threshold Near // how near its end a certificate is due
	// SelfManaged takes the place of Threshold for a certificate that its component
	// renews by itself too: its own chance comes first.
	SelfManaged Near
	Mode        Mode
	Windows     []Window // when renewals may start; none: any time
	Override    Near     // how near its end a certificate does not wait for a window; zero: it always does
	Validity    time.Duration
	// AllowShortValidity says that a Validity below [plan.MinValidity] is meant.
	AllowShortValidity bool
	Renewal            plan.RestartPolicy // what restarts when something is renewed
	Compromise         plan.RestartPolicy // and when it is replaced because it is compromised
}

// Match says which certificates a rule is about: those that fit everything that is set.
type Match struct {
	Services []certs.Service
	Nodes    func(labels map[string]string) bool
	Issuers  []string // common names
}

func (m Match) fits(n *Node, c *Certificate) bool {
	return (len(m.Services) == 0 || slices.Contains(m.Services, c.Service)) &&
		(m.Nodes == nil || m.Nodes(n.Labels)) &&
		(len(m.Issuers) == 0 || slices.Contains(m.Issuers, certs.CommonName(c.Issuer)))
}

// Near is a time before an end: the smaller of a duration and a fraction of the whole
// life. What is zero does not count; both zero means never.
type Near struct {
	Duration time.Duration
	Fraction float64
}

// Of is how long before its end something is near it.
func (n Near) Of(life time.Duration) time.Duration {
	part := time.Duration(n.Fraction * float64(life))
	switch {
	case n.Fraction == 0:
		return n.Duration
	case n.Duration == 0:
		return max(part, 0)
	default:
		return max(min(n.Duration, part), 0)
	}
}

// IsZero says that nothing is ever near.
func (n Near) IsZero() bool { return n == Near{} }

// Freeze stops renewals, whatever is due.
type Freeze struct {
	On     bool
	Until  time.Time // zero: until the policy says otherwise
	Reason string
	// Override lets through what does not wait for a window either.
	Override bool
	// HoldCompromised keeps back even what is compromised.
	HoldCompromised bool
}

// holds says whether the freeze is in force.
func (f Freeze) holds(now time.Time) bool {
	return f.On && (f.Until.IsZero() || now.Before(f.Until))
}

// Limits bound what happens by itself. What is compromised goes past RotationsPerDay.
type Limits struct {
	// RotationsPerDay is how many renewals may start within any 24 hours. 0: no limit.
	RotationsPerDay int
	// NodesPerRotation is how many nodes one rotation may have. 0: [MaxNodes].
	NodesPerRotation int
	// MaxUnavailable is how many workers may be worked on at a time, "3" or "10%".
	MaxUnavailable string
}

// What one rotation holds at the most: it is an object and an event, and both have a size.
const (
	MaxNodes        = 2000
	MaxFingerprints = 4000
)

// Retry says how often and when again after a failure.
type Retry struct {
	Initial time.Duration // after the first failure; doubles with each
	Max     time.Duration
	// StopAfter so many failures a certificate is tried once a day, until it is within its
	// rule's Override. 0: never so.
	StopAfter int
}

// Default is the policy of a cluster for which nobody has written one.
func Default() Policy {
	return Policy{
		Default: Rule{
			Name:        "defaults",
			Threshold:   Near{Duration: 30 * day, Fraction: 0.2},
			SelfManaged: Near{Duration: 7 * day, Fraction: 0.05},
			Mode:        Automatic,
			Override:    Near{Duration: 7 * day, Fraction: 0.1},
			Renewal:     plan.RestartIfNeeded,
			Compromise:  plan.RestartAlways,
		},
		Authorities: Near{Duration: 365 * day, Fraction: 0.2},
		Limits:      Limits{RotationsPerDay: 6, NodesPerRotation: 500, MaxUnavailable: plan.DefaultMaxUnavailable},
		Retry:       Retry{Initial: time.Hour, Max: day, StopAfter: 3},
	}
}

const day = 24 * time.Hour

// NotifyOnly returns the policy with every rule in that mode.
func (p Policy) NotifyOnly() Policy {
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i].Mode = NotifyOnly
	}
	p.Default.Mode = NotifyOnly
	return p
}

// RuleFor returns the rule that counts for a certificate.
func (p *Policy) RuleFor(n *Node, c *Certificate) *Rule {
	for i := range p.Rules {
		if p.Rules[i].Match.fits(n, c) {
			return &p.Rules[i]
		}
	}
	return &p.Default
}

// urgent says whether a certificate is so near its end, or past it, that nothing waits for a
// window or for a person any more.
func (r *Rule) urgent(c *Certificate, now time.Time) bool {
	return !now.Before(c.NotAfter.Add(-r.Override.Of(c.life())))
}

// threshold is how long before its end a certificate is due.
func (r *Rule) threshold(c *Certificate) time.Duration {
	if c.SelfManaged {
		return r.SelfManaged.Of(c.life())
	}
	return r.Threshold.Of(c.life())
}
