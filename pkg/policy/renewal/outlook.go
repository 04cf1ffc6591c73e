package renewal

import "time"

// Prospect is what a policy means for one certificate if nothing changes: no failure, no
// limit, nobody's hand.
type Prospect struct {
	Ref
	Path   string
	Rule   string
	Due    time.Time
	Starts time.Time // the first moment that is allowed; zero: never by itself
	// Why is what holds it longer than until it is due, and why it never starts.
	Why  Reason
	Text string
}

// InTime says that the renewal starts before the certificate ends.
func (p Prospect) InTime() bool { return !p.Starts.IsZero() && p.Starts.Before(p.NotAfter) }

// Outlook tells for each certificate of a node when its renewal would start.
func Outlook(now time.Time, p *Policy, n *Node) []Prospect {
	var out []Prospect
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if c.Fingerprint == "" || c.NotAfter.IsZero() {
			continue
		}
		r := p.RuleFor(n, c)
		at := Prospect{Ref: refOf(n, c), Path: c.Path, Rule: r.Name, Due: c.NotAfter.Add(-r.threshold(c))}
		from := later(at.Due, now)
		at.Why, at.Text = standing(n, c, r)
		if why := c.unrenewable(r.Renewal); at.Why == "" && why != "" {
			at.Why, at.Text = ReasonNotRenewable, why
		}
		if at.Why == ReasonNodeAway && from.After(now) {
			at.Why, at.Text = "", "" // it may be back by then
		}
		if at.Why == "" {
			if at.Why, at.Text, at.Starts = p.worth(from, n, c, r); at.Why != "" && !at.Starts.IsZero() {
				from = at.Starts
			}
		}
		if at.Why == "" || !at.Starts.IsZero() {
			at.Starts = time.Time{}
			begin, why := p.start(r, c, from)
			if !begin.Equal(from) {
				at.Why = why
			}
			at.Starts = begin
		}
		out = append(out, at)
	}
	return out
}
