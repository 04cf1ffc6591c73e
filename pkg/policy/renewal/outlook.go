package renewal

import "time"

// Prospect is the result of a policy for one certificate if nothing changes: without failures,
// limits or manual rotations.
type Prospect struct {
	Ref
	Path   string
	Rule   string
	Due    time.Time
	Starts time.Time // the first permitted moment; zero: never automatically
	// Why is why it starts later than it is due, or never.
	Why  Reason
	Text string
}

// InTime is true if the renewal starts before the certificate expires.
func (p Prospect) InTime() bool { return !p.Starts.IsZero() && p.Starts.Before(p.NotAfter) }

// Outlook returns for each certificate of a node when its renewal would start.
func Outlook(now time.Time, p *Policy, n *Node) []Prospect {
	var out []Prospect
	for i := range n.Certificates {
		c := &n.Certificates[i]
		if c.Fingerprint == "" || c.NotAfter.IsZero() {
			continue
		}
		r := p.RuleFor(n, c)
		at := Prospect{Ref: refOf(n, c), Path: c.Path, Rule: r.Name, Due: c.NotAfter.Add(-r.dueBefore(c))}
		from := laterOf(at.Due, now)
		at.Why, at.Text = neverReason(n, c, r)
		if why := c.unrenewableReason(r.Renewal); at.Why == "" && why != "" {
			at.Why = ReasonNotRenewable
			at.Text = why
		}
		if at.Why == ReasonNodeUnavailable && from.After(now) {
			at.Why = ""
			at.Text = "" // it may be available by then
		}
		if at.Why == "" {
			if at.Why, at.Text, at.Starts = p.judgeGain(from, n, c, r); at.Why != "" && !at.Starts.IsZero() {
				from = at.Starts
			}
		}
		if at.Why == "" || !at.Starts.IsZero() {
			at.Starts = time.Time{}
			begin, why := p.earliestStart(r, c, from)
			if !begin.Equal(from) {
				at.Why = why
			}
			at.Starts = begin
		}
		out = append(out, at)
	}
	return out
}
