package renewal

import "time"

// Schedule names moments: the next one after t. The zero time means that there is none.
type Schedule interface {
	Next(t time.Time) time.Time
}

// Window is a time in which renewals may start. What has started in it may end after it.
type Window struct {
	Text     string // as a person wrote it
	Schedule Schedule
	Duration time.Duration
	Zone     *time.Location // to show times in; the schedule has its own
}

// Open says whether the window is open, and when it opens next.
func (w Window) Open(now time.Time) (bool, time.Time) {
	begin := w.Schedule.Next(now.Add(-w.Duration))
	if begin.IsZero() || begin.After(now) {
		return false, begin
	}
	return true, now
}

// Coming returns the next times at which the window opens, beginning with the one that
// is open now, as the window's zone has them.
func (w Window) Coming(now time.Time, n int) []time.Time {
	var out []time.Time
	for t := now.Add(-w.Duration); len(out) < n; {
		if t = w.Schedule.Next(t); t.IsZero() {
			break
		}
		if w.Zone != nil {
			t = t.In(w.Zone)
		}
		out = append(out, t)
	}
	return out
}

// opens is the first moment from now on at which one of the windows is open; zero: never.
func opens(windows []Window, now time.Time) time.Time {
	if len(windows) == 0 {
		return now
	}
	var first time.Time
	for _, w := range windows {
		if _, at := w.Open(now); !at.IsZero() {
			first = earlier(first, at)
		}
	}
	return first
}

// earlier returns the earlier of two times; the zero time means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// start is the first moment from the given one on at which the freeze and a rule's
// windows let a certificate's renewal begin, and what holds it until then. Zero: never by
// time alone.
func (p *Policy) start(r *Rule, c *Certificate, from time.Time) (time.Time, Reason) {
	why, thawed, frozenForever := ReasonWindow, from, false
	if p.Freeze.holds(from) {
		why, thawed, frozenForever = ReasonFreeze, p.Freeze.Until, p.Freeze.Until.IsZero()
	}
	var at time.Time
	if !frozenForever {
		at = opens(r.Windows, thawed)
	}
	urgent := c.NotAfter.Add(-r.Override.Of(c.life()))
	switch {
	case r.Override.IsZero():
	case why == ReasonFreeze && p.Freeze.Override:
		at = earlier(at, later(urgent, from))
	case !frozenForever:
		at = earlier(at, later(urgent, thawed))
	}
	return at, why
}

// openNow says whether one of the windows is open, or none is asked for.
func openNow(windows []Window, now time.Time) bool {
	at := opens(windows, now)
	return !at.IsZero() && !at.After(now)
}
