// Package renewal decides which certificates of a cluster are renewed automatically, when, and
// which notices are published. Its functions are pure: the time, the certificates, the policy
// and the history come in, a decision comes out.
//
// [Assess] assesses one node, and returns when time alone changes the result; it can be kept
// until then, or until the node changes. [Decide] decides over the few nodes with due
// certificates, compromised certificates, and the history.
package renewal

import (
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Policy is what an operator permits.
type Policy struct {
	// Rules are evaluated in order; the first that matches a certificate applies. If none
	// does, Default applies; its Match is not used.
	Rules   []Rule
	Default Rule
	// Authorities is how long before its expiry a CA is reported.
	Authorities Threshold
	Freeze      Freeze
	Limits      Limits
	Retry       Retry
	// FleetServices may be rotated because a user of another cluster asks for it.
	FleetServices []certs.Service
	// Lifetime is the validity of new certificates whose rule has none: that of the cluster's
	// kubeadm configuration. 0: that of the replaced certificate.
	Lifetime time.Duration
}

// Mode is whether a rule starts rotations.
type Mode string

// The modes.
const (
	Automatic  Mode = "automatic"
	NotifyOnly Mode = "notify-only" // events only; no rotation starts, not even of compromised keys
)

// Rule has the settings for the certificates that it matches.
type Rule struct {
	Name      string
	Match     Match
	Threshold Threshold // how long before its expiry a certificate is due
	// SelfManaged replaces Threshold for a certificate that its component renews
	// automatically, too: the component comes first.
	SelfManaged Threshold
	Mode        Mode
	Windows     []Window  // when renewals may start; none: any time
	Override    Threshold // how long before its expiry a certificate does not wait for a window; zero: it always waits
	Validity    time.Duration
	// AllowShortValidity means that a Validity below [plan.MinValidity] is intended.
	AllowShortValidity bool
	Renewal            plan.RestartPolicy // which components restart after a renewal
	Compromise         plan.RestartPolicy // and after the replacement of compromised keys
}

// Match selects certificates: those that match everything that is set.
type Match struct {
	Services []certs.Service
	Nodes    func(labels map[string]string) bool
	Issuers  []string // common names
}

func (m Match) matchesCertificate(n *Node, c *Certificate) bool {
	return (len(m.Services) == 0 || slices.Contains(m.Services, c.Service)) &&
		(m.Nodes == nil || m.Nodes(n.Labels)) &&
		(len(m.Issuers) == 0 || slices.Contains(m.Issuers, certs.CommonName(c.Issuer)))
}

// Threshold is a time before an expiry: the smaller of a duration and a fraction of the whole
// life. Zero values do not count; both zero means never.
type Threshold struct {
	Duration time.Duration
	Fraction float64
}

// PartOf is the threshold for a life.
func (n Threshold) PartOf(life time.Duration) time.Duration {
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

// IsZero is true for a threshold that is never reached.
func (n Threshold) IsZero() bool { return n == Threshold{} }

// Freeze stops renewals.
type Freeze struct {
	On     bool
	Until  time.Time // zero: until the policy says otherwise
	Reason string
	// Override permits certificates that do not wait for a window.
	Override bool
	// HoldCompromised also stops the replacement of compromised keys.
	HoldCompromised bool
}

// isFrozen is true if the freeze is in force.
func (f Freeze) isFrozen(now time.Time) bool {
	return f.On && (f.Until.IsZero() || now.Before(f.Until))
}

// Limits limit automatic rotations. RotationsPerDay does not apply to compromised keys.
type Limits struct {
	// RotationsPerDay is how many renewals may start within any 24 hours. 0: no limit.
	RotationsPerDay int
	// NodesPerRotation is how many nodes one rotation may have. 0: [MaxNodes].
	NodesPerRotation int
	// MaxUnavailable is how many workers may be in progress at a time, "3" or "10%".
	MaxUnavailable string
}

// Limits of one rotation: the sizes of an object and of an event are limited.
const (
	MaxNodes        = 2000
	MaxFingerprints = 4000
)

// Retry is when a certificate is tried again after a failure.
type Retry struct {
	Initial time.Duration // after the first failure; doubles with each
	Max     time.Duration
	// StopAfter is after how many failures a certificate is tried once a day, until it expires
	// within the Override of its rule. 0: never.
	StopAfter int
}

// Default is the policy of a cluster without a RotationPolicy.
func Default() Policy {
	return Policy{
		Default: Rule{
			Name:        "defaults",
			Threshold:   Threshold{Duration: 30 * certs.Day, Fraction: 0.2},
			SelfManaged: Threshold{Duration: 7 * certs.Day, Fraction: 0.05},
			Mode:        Automatic,
			Override:    Threshold{Duration: 7 * certs.Day, Fraction: 0.1},
			Renewal:     plan.RestartIfNeeded,
			Compromise:  plan.RestartAlways,
		},
		Authorities: Threshold{Duration: 365 * certs.Day, Fraction: 0.2},
		Limits:      Limits{RotationsPerDay: 6, NodesPerRotation: 500, MaxUnavailable: plan.DefaultMaxUnavailable},
		Retry:       Retry{Initial: time.Hour, Max: certs.Day, StopAfter: 3},
	}
}

// NotifyOnly returns the policy with this mode in every rule.
func (p Policy) NotifyOnly() Policy {
	p.Rules = slices.Clone(p.Rules)
	for i := range p.Rules {
		p.Rules[i].Mode = NotifyOnly
	}
	p.Default.Mode = NotifyOnly
	return p
}

// RuleFor returns the rule that applies to a certificate.
func (p *Policy) RuleFor(n *Node, c *Certificate) *Rule {
	for i := range p.Rules {
		if p.Rules[i].Match.matchesCertificate(n, c) {
			return &p.Rules[i]
		}
	}
	return &p.Default
}

// isUrgent is true if a certificate has expired, or expires so soon that it waits neither for
// a window nor for an operator.
func (r *Rule) isUrgent(c *Certificate, now time.Time) bool {
	return !now.Before(c.NotAfter.Add(-r.Override.PartOf(c.lifeSpan())))
}

// dueBefore is how long before its expiry a certificate is due.
func (r *Rule) dueBefore(c *Certificate) time.Duration {
	if c.SelfManaged {
		return r.SelfManaged.PartOf(c.lifeSpan())
	}
	return r.Threshold.PartOf(c.lifeSpan())
}
