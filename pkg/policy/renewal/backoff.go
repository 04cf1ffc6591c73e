package renewal

import (
	"fmt"
	"time"
)

// failed says whether earlier attempts hold a certificate back. None does so for good: what
// has failed too often, or needs a person, is still tried once a day, since the cause may be
// gone; and more often once its end is near or its key is in wrong hands.
func (d *decider) failed(ref Ref, r *Rule, c *Certificate, compromised bool) (Reason, string, time.Time) {
	t, retry := d.record.trouble(ref, compromised), d.Policy.Retry
	if t.name == "" {
		return "", "", time.Time{}
	}
	threshold := r.threshold(c)
	if compromised {
		retry.Initial, retry.Max, threshold = min(retry.Initial, compromisedPause), min(retry.Max, longestCompromised), 0
	}
	pause := retry.pauseAfterCancel(t.canceled)
	if t.failures+t.refusals > 0 || t.elsewhere {
		pause = retry.pause(t.failures+t.refusals, threshold)
	}
	why, text := ReasonBackOff, "rotation "+quoted(t.name)+" "+t.words()
	switch urgent := r.urgent(c, d.Now); {
	case compromised:
	case urgent:
		pause = min(pause, max(c.NotAfter.Sub(d.Now)/8, retry.pause(1, threshold)))
	case t.manualInterventionRequired:
		why, pause = ReasonStopped, max(pause, day)
		text = "rotation " + quoted(t.name) + " needs a person; it is tried once a day until its nodes are in order"
	case retry.StopAfter > 0 && t.failures >= retry.StopAfter:
		why, pause = ReasonStopped, max(pause, day)
		text = fmt.Sprintf("%d rotations have failed, %s last; it is tried once a day", t.failures, quoted(t.name))
	}
	if until := t.last.Add(pause); until.After(d.Now) {
		return why, text, until
	}
	return "", "", time.Time{}
}
