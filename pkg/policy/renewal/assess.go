package renewal

import (
	"time"
)

// soonPart of the threshold before it is due a certificate comes along with others that
// are: nodes that were set up within days of each other are rotated in one go.
const soonPart = 10

// Assessment is what a policy says of one node. It holds until Next.
type Assessment struct {
	Node    string
	Notices []Notice
	Items   []Item // what is due, and what may come along; usually nothing
	// LeftOut is what is due and cannot be renewed. It is never an Item, so that it keeps no
	// other certificate from being renewed.
	LeftOut []LeftOut
	Next    time.Time // when the clock alone changes it; zero: never
}

// HasDue says whether something on the node is to be renewed, if only by a person.
func (a Assessment) HasDue() bool {
	for _, i := range a.Items {
		if !i.Soon {
			return true
		}
	}
	return len(a.LeftOut) > 0
}

// LeftOut is a certificate that is due and that no rotation under its rule can renew.
type LeftOut struct {
	Ref
	Text string // why
}

// Item is a certificate to renew.
type Item struct {
	Ref
	ControlPlane bool
	Soon         bool // not due yet; only together with others
	// Held says why it is not renewed by itself, as far as the node alone tells.
	Held     Reason
	HeldText string
	Until    time.Time // when the clock alone changes that; zero: never
	rule     *Rule
	cert     Certificate
}

// Assess judges one node. The policy must not be changed while the result is kept.
func Assess(now time.Time, p *Policy, n *Node) Assessment {
	a := Assessment{Node: n.Name}
	// wake notes a moment at which the clock alone changes something.
	wake := func(at time.Time) {
		if at.After(now) {
			a.Next = earlier(a.Next, at)
		}
	}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if c.Fingerprint == "" || c.NotAfter.IsZero() {
			continue // it cannot be parsed, which the report tells
		}
		r := p.RuleFor(n, c)
		threshold := r.threshold(c)
		due := c.NotAfter.Add(-threshold)
		soon := due.Add(-threshold / soonPart)
		wake(soon)
		wake(due)
		wake(c.NotAfter)
		if !now.Before(c.NotAfter) {
			a.Notices = append(a.Notices, certificateNotice(CertificateExpired, n, c, r))
		} else if !now.Before(due) {
			a.Notices = append(a.Notices, certificateNotice(CertificateExpiring, n, c, r))
		}
		if why := c.unrenewable(r.Renewal); why != "" {
			if !now.Before(due) {
				a.LeftOut = append(a.LeftOut, LeftOut{refOf(n, c), why})
			}
			continue
		}
		if now.Before(soon) {
			continue
		}
		item := p.item(now, n, c, r)
		item.Soon = now.Before(due)
		wake(item.Until)
		if ca := n.issuer(c, now); ca != nil {
			wake(ca.NotAfter.Add(-c.leastGain())) // from then on nothing is worth it
		}
		a.Items = append(a.Items, item)
	}
	for i := range n.Authorities {
		ca := &n.Authorities[i]
		if ca.Fingerprint == "" || ca.NotAfter.IsZero() {
			continue
		}
		near := ca.NotAfter.Add(-p.Authorities.Of(ca.NotAfter.Sub(ca.NotBefore)))
		wake(near)
		if !now.Before(near) {
			a.Notices = append(a.Notices, Notice{
				Kind: AuthorityExpiring, Node: n.Name, Name: ca.Name, Path: ca.Path, Subject: ca.Subject, Serial: ca.Serial,
				Fingerprint: ca.Fingerprint, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
			})
		}
	}
	return a
}

func certificateNotice(kind NoticeKind, n *Node, c *Certificate, r *Rule) Notice {
	return Notice{
		Kind: kind, Node: n.Name, Service: c.Service, Name: c.Name, Path: c.Path, User: c.User, Subject: c.Subject, Issuer: c.Issuer, Serial: c.Serial,
		Fingerprint: c.Fingerprint, NotBefore: c.NotBefore, NotAfter: c.NotAfter, Rule: r.Name,
		NotRenewable: c.unrenewable(r.Renewal),
	}
}

// item judges what of a certificate depends on its node alone.
func (p *Policy) item(now time.Time, n *Node, c *Certificate, r *Rule) Item {
	item := Item{Ref: refOf(n, c), ControlPlane: n.ControlPlane, rule: r, cert: *c}
	item.Held, item.HeldText = standing(n, c, r)
	if item.Held == "" {
		item.Held, item.HeldText, item.Until = p.worth(now, n, c, r)
	}
	return item
}

// standing is why a certificate is never rotated by itself as its node and its rule are,
// whether it is due or compromised.
func standing(n *Node, c *Certificate, r *Rule) (Reason, string) {
	switch {
	case r.Mode == NotifyOnly:
		return ReasonNotifyOnly, "rule " + quoted(r.Name) + " only notifies"
	case ofControlPlane(c.Service) && !n.ControlPlane:
		return ReasonNotControlPlane, "node " + quoted(n.Name) + " reports a certificate of the control plane, and its Node object has no control-plane label"
	case n.Away != "":
		return ReasonNodeAway, "node " + quoted(n.Name) + " cannot be worked on: " + n.Away
	}
	return "", ""
}
