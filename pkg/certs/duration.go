package certs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Day is a day of 24 hours, the unit of validities.
const Day = 24 * time.Hour

// DurationFlag is the value of a flag that takes days, "90d" or "1d12h", besides Go's own
// durations. Zero means that it was not given.
type DurationFlag time.Duration

// Set parses the value; zero and negative durations are refused.
func (f *DurationFlag) Set(s string) error {
	d, err := ParseDuration(s)
	if err != nil {
		return err
	}
	*f = DurationFlag(d)
	return nil
}

// String returns the value as it would be given.
func (f *DurationFlag) String() string {
	if *f == 0 {
		return ""
	}
	return FormatDuration(time.Duration(*f))
}

// Type names the value in the usage text.
func (*DurationFlag) Type() string { return "duration" }

// ParseDuration reads durations with days, "90d" or "1d12h", and Go's own. Zero and negative
// ones are refused.
func ParseDuration(s string) (time.Duration, error) {
	wrong := fmt.Errorf("duration %q: want a number with a unit, such as 90d, 12h, 1d12h or 30m", s)
	rest := strings.TrimSpace(s)
	total := time.Duration(0)
	if before, after, found := strings.Cut(rest, "d"); found {
		days, err := strconv.ParseFloat(before, 64)
		switch {
		case err != nil || math.IsNaN(days) || days < 0:
			return 0, wrong
		case days > float64(math.MaxInt64/2)/float64(Day):
			return 0, fmt.Errorf("duration %q is too long", s)
		}
		total = time.Duration(days * float64(Day))
		rest = after
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

// FormatDuration writes a duration as [ParseDuration] reads it and without the zeros that
// Go puts at its end: 30d, 12h, 1m.
func FormatDuration(d time.Duration) string {
	if d >= Day && d%Day == 0 {
		return fmt.Sprintf("%dd", d/Day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
