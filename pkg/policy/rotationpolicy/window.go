package rotationpolicy

import (
	"fmt"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// compileWindow reads a schedule in its time zone.
func (bad report) compileWindow(field string, w v1alpha1.RotationPolicyWindow) renewal.Window {
	out := renewal.Window{Zone: time.UTC}
	if w.TimeZone != "" {
		zone, err := time.LoadLocation(w.TimeZone)
		if err != nil || w.TimeZone == "Local" {
			bad(field+".timeZone", "unknown time zone %q: want a name such as Europe/Berlin, or UTC", w.TimeZone)
			return out
		}
		out.Zone = zone
	}
	if w.Duration == "" {
		bad(field+".duration", "a window needs a duration, such as 4h")
	} else if out.Duration = bad.parseDuration(field+".duration", w.Duration); out.Duration != 0 && (out.Duration < time.Minute || out.Duration > 7*certs.Day) {
		bad(field+".duration", "%s: want from %s to %s", w.Duration, certs.FormatDuration(time.Minute), certs.FormatDuration(7*certs.Day))
	}
	schedule, err := parseSchedule(w.Schedule, out.Zone)
	if err != nil {
		bad(field+".schedule", "%v", err)
		return out
	}
	out.Schedule = schedule
	out.Text = fmt.Sprintf("%s for %s (%s)", w.Schedule, w.Duration, out.Zone)
	return out
}

// searchFrom is when the search for the first time of a schedule begins. The schedule must
// have a time within five years from then, whichever day it is today.
var searchFrom = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

func parseSchedule(text string, zone *time.Location) (renewal.Schedule, error) {
	wrong := func(why string) error {
		return fmt.Errorf("schedule %q: %s; want minute, hour, day of month, month and day of week, such as \"0 2 * * 6\"", text, why)
	}
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return nil, wrong("it is empty")
	case strings.Contains(trimmed, "TZ="):
		return nil, wrong("the time zone has a field of its own, timeZone")
	case strings.HasPrefix(trimmed, "@every"):
		return nil, wrong("@every names no times of the day")
	}
	schedule, err := cron.ParseStandard(trimmed)
	if err != nil {
		return nil, wrong(err.Error())
	}
	spec, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return nil, wrong("it names no times of the day")
	}
	spec.Location = zone
	if spec.Next(searchFrom).IsZero() {
		return nil, wrong("there is no such day")
	}
	return spec, nil
}
