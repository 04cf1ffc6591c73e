package plugin

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

const day = 24 * time.Hour

// durationFlag is a flag that takes what people say of certificates, "90d" or
// "1d12h", besides Go's own durations. Its zero value means that it was not given.
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
	switch d := time.Duration(*f); {
	case d == 0:
		return ""
	case d%day == 0:
		return fmt.Sprintf("%dd", d/day)
	default:
		return spell(d)
	}
}

// Type names the value in the usage text.
func (f *durationFlag) Type() string { return "duration" }

// spell writes a duration without the zeros that Go puts at its end: 1m, not 1m0s.
func spell(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func parseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("duration %q: want a number with a unit, such as 90d, 12h, 1d12h or 30m", s)
	rest, total := strings.TrimSpace(s), time.Duration(0)
	if before, after, found := strings.Cut(rest, "d"); found {
		days, err := strconv.ParseFloat(before, 64)
		switch {
		case err != nil || math.IsNaN(days) || days < 0:
			return 0, wrong
		case days > float64(math.MaxInt64/2)/float64(day):
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total, rest = time.Duration(days*float64(day)), after
	}
	if rest != "" {
		d, err := time.ParseDuration(rest)
		if err != nil || d < 0 || d > math.MaxInt64/2 {
			return 0, wrong
		}
		total += d
	}
	if total <= 0 {
		return 0, wrong
	}
	return total, nil
}
