package plugin

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

const day = 24 * time.Hour

// durationFlag is a flag that takes days, "90d" or "1d12h", besides Go's own durations. Its
// zero value means that it was not given.
type durationFlag time.Duration

// Set parses the value; zero and negative durations are refused.
func (f *durationFlag) Set(s string) error {
	d, err := parseDuration(s)
	if err != nil {
		return err
	}
	*f = durationFlag(d)
	return nil
}

// String returns the value as it would be given.
func (f *durationFlag) String() string {
	if *f == 0 {
		return ""
	}
	return certs.FormatDuration(time.Duration(*f))
}

// Type names the value in the usage text.
func (f *durationFlag) Type() string { return "duration" }

func parseDuration(s string) (time.Duration, error) { return certs.ParseDuration(s) }
