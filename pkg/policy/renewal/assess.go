package renewal

import (
	"time"
)

// soonFraction of the threshold before it is due, a certificate is renewed together with due
// ones: nodes that were set up within days of each other are rotated at once.
const soonFraction = 10

// Assessment is the result of a policy for one node. It is valid until Next.
type Assessment struct {
	Node    string
	Notices []Notice
	Items   []Item // due certificates, and others that may be renewed with them; usually none
	// LeftOut are due certificates that cannot be renewed. They are never Items, so that they
	// do not block other certificates.
	LeftOut []LeftOut
	Next    time.Time // when the clock alone changes it; zero: never
}

// HasDue is true if a certificate on the node is due, also if only an operator can renew it.
func (a Assessment) HasDue() bool {
	for _, i := range a.Items {
		if !i.Soon {
			return true
		}
	}
	return len(a.LeftOut) > 0
}

// LeftOut is a due certificate that no rotation under its rule can renew.
type LeftOut struct {
	Ref
	Text string // why
}

// Item is a certificate to renew.
type Item struct {
	Ref
	ControlPlane bool
	Soon         bool // not due yet: renewed only together with others
	// Held is why it is not renewed automatically, as far as the node determines it.
	Held     Reason
	HeldText string
	Until    time.Time // when the clock alone changes that; zero: never
	rule     *Rule
	cert     Certificate
}

// Assess assesses one node. The policy must not be changed while the result is used.
func Assess(now time.Time, p *Policy, n *Node) Assessment {
	a := Assessment{Node: n.Name}
	// wake records a moment at which time alone changes the result.
	wake := func(at time.Time) {
		if at.After(now) {
			a.Next = EarlierOf(a.Next, at)
		}
	}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if c.Fingerprint == "" || c.NotAfter.IsZero() {
			continue // it cannot be parsed, see its report
		}
		r := p.RuleFor(n, c)
		threshold := r.dueBefore(c)
		due := c.NotAfter.Add(-threshold)
		soon := due.Add(-threshold / soonFraction)
		wake(soon)
		wake(due)
		wake(c.NotAfter)
		if !now.Before(c.NotAfter) {
			a.Notices = append(a.Notices, certificateNotice(CertificateExpired, n, c, r))
		} else if !now.Before(due) {
			a.Notices = append(a.Notices, certificateNotice(CertificateExpiring, n, c, r))
		}
		if why := c.unrenewableReason(r.Renewal); why != "" {
			if !now.Before(due) {
				a.LeftOut = append(a.LeftOut, LeftOut{refOf(n, c), why})
			}
			continue
		}
		if now.Before(soon) {
			continue
		}
		item := p.assessItem(now, n, c, r)
		item.Soon = now.Before(due)
		wake(item.Until)
		if ca := n.issuerOf(c, now); ca != nil {
			wake(ca.NotAfter.Add(-c.minGain())) // from then on a renewal gains too little
		}
		a.Items = append(a.Items, item)
	}
	for i := range n.Authorities {
		ca := &n.Authorities[i]
		if ca.Fingerprint == "" || ca.NotAfter.IsZero() {
			continue
		}
		near := ca.NotAfter.Add(-p.Authorities.PartOf(ca.NotAfter.Sub(ca.NotBefore)))
		wake(near)
		if !now.Before(near) {
			a.Notices = append(a.Notices, Notice{
				Kind: AuthorityExpiring, Node: n.Name, Certificate: Certificate{
					Name: ca.Name, Path: ca.Path, Subject: ca.Subject, Serial: ca.Serial, Fingerprint: ca.Fingerprint, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
				}})
		}
	}
	return a
}

func certificateNotice(kind NoticeKind, n *Node, c *Certificate, r *Rule) Notice {
	notice := Notice{Kind: kind, Node: n.Name, Certificate: *c, Rule: r.Name}
	notice.NotRenewable = c.unrenewableReason(r.Renewal)
	return notice
}

// assessItem assesses one certificate as far as it depends on its node alone.
func (p *Policy) assessItem(now time.Time, n *Node, c *Certificate, r *Rule) Item {
	item := Item{Ref: refOf(n, c), ControlPlane: n.ControlPlane, rule: r, cert: *c}
	item.Held, item.HeldText = neverReason(n, c, r)
	if item.Held == "" {
		item.Held, item.HeldText, item.Until = p.judgeGain(now, n, c, r)
	}
	return item
}

// neverReason is why node and rule exclude every automatic rotation of a certificate, due or
// compromised.
func neverReason(n *Node, c *Certificate, r *Rule) (Reason, string) {
	switch {
	case r.Mode == NotifyOnly:
		return ReasonNotifyOnly, "rule " + quoteName(r.Name) + " is notify-only"
	case ofControlPlane(c.Service) && !n.ControlPlane:
		return ReasonNotControlPlane, "node " + quoteName(n.Name) + " reports a certificate of the control plane, and its Node object has no control-plane label"
	case n.Unavailable != "":
		return ReasonNodeUnavailable, "node " + quoteName(n.Name) + " cannot be rotated: " + n.Unavailable
	}
	return "", ""
}
