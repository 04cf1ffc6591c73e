package renewal

import "time"

// Schedule returns the next moment after t; the zero time: there is none.
type Schedule interface {
	Next(t time.Time) time.Time
}

// Window is a time in which renewals may start. They may end after it.
type Window struct {
	Text     string // as written in the policy
	Schedule Schedule
	Duration time.Duration
	Zone     *time.Location // for printed times; the schedule has its own
}

// OpenAt returns whether the window is open, and when it opens next.
func (w Window) OpenAt(now time.Time) (bool, time.Time) {
	begin := w.Schedule.Next(now.Add(-w.Duration))
	if begin.IsZero() || begin.After(now) {
		return false, begin
	}
	return true, now
}

// NextOpenings returns the next times at which the window opens, in its zone, beginning with
// the current opening.
func (w Window) NextOpenings(now time.Time, n int) []time.Time {
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

// firstOpening is the first moment from now at which one of the windows is open; zero: never.
func firstOpening(windows []Window, now time.Time) time.Time {
	if len(windows) == 0 {
		return now
	}
	var first time.Time
	for _, w := range windows {
		if _, at := w.OpenAt(now); !at.IsZero() {
			first = EarlierOf(first, at)
		}
	}
	return first
}

// EarlierOf returns the earlier of two times; the zero time means never.
func EarlierOf(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func laterOf(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// earliestStart is the first moment from the given one at which freeze and windows permit a
// renewal, and which of them delays it. Zero: never by time alone.
func (p *Policy) earliestStart(r *Rule, c *Certificate, from time.Time) (time.Time, Reason) {
	why := ReasonWindow
	thawed := from
	frozenForever := false
	if p.Freeze.isFrozen(from) {
		why = ReasonFreeze
		thawed = p.Freeze.Until
		frozenForever = p.Freeze.Until.IsZero()
	}
	var at time.Time
	if !frozenForever {
		at = firstOpening(r.Windows, thawed)
	}
	urgent := c.NotAfter.Add(-r.Override.PartOf(c.lifeSpan()))
	switch {
	case r.Override.IsZero():
	case why == ReasonFreeze && p.Freeze.Override:
		at = EarlierOf(at, laterOf(urgent, from))
	case !frozenForever:
		at = EarlierOf(at, laterOf(urgent, thawed))
	}
	return at, why
}

// openNow is true if one of the windows is open, or there are no windows.
func openNow(windows []Window, now time.Time) bool {
	at := firstOpening(windows, now)
	return !at.IsZero() && !at.After(now)
}
