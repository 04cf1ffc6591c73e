package renewal

import (
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// backOffReason returns why earlier attempts delay a certificate, and until when. None does so
// permanently: after too many failures, or if manual intervention is required, a certificate
// is tried once a day, since the cause may be fixed. It is tried more often once it expires
// soon, or if its key is compromised.
func (d *decider) backOffReason(ref Ref, r *Rule, c *Certificate, compromised bool) (Reason, string, time.Time) {
	t := d.attempts.failuresOf(ref, compromised)
	retry := d.Policy.Retry
	if t.name == "" {
		return "", "", time.Time{}
	}
	threshold := r.dueBefore(c)
	if compromised {
		// The key remains compromised meanwhile.
		retry.Initial = min(retry.Initial, 5*time.Minute)
		retry.Max = min(retry.Max, time.Hour)
		threshold = 0
	}
	pause := retry.pauseAfterCancel(t.canceled)
	if t.failures+t.refusals > 0 || t.elsewhere {
		pause = retry.pauseAfter(t.failures+t.refusals, threshold)
	}
	why := ReasonBackOff
	text := "rotation " + quoteName(t.name) + " " + t.describeFailures()
	switch urgent := r.isUrgent(c, d.Now); {
	case compromised:
	case urgent:
		pause = min(pause, max(c.NotAfter.Sub(d.Now)/8, retry.pauseAfter(1, threshold)))
	case t.manualInterventionRequired:
		why = ReasonStopped
		pause = max(pause, certs.Day)
		text = "rotation " + quoteName(t.name) + ": manual intervention required; it is tried once a day"
	case retry.StopAfter > 0 && t.failures >= retry.StopAfter:
		why = ReasonStopped
		pause = max(pause, certs.Day)
		text = fmt.Sprintf("%d rotations have failed, %s last; it is tried once a day", t.failures, quoteName(t.name))
	}
	if until := t.last.Add(pause); until.After(d.Now) {
		return why, text, until
	}
	return "", "", time.Time{}
}
