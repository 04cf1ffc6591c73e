package plugin

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// nothing fills a cell that has no value.
const nothing = "–"

// utcMinute is a time as every line shows it: absolute, UTC, to the minute.
func utcMinute(t time.Time) string {
	if t.IsZero() {
		return nothing
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

func utcDate(t time.Time) string { return t.UTC().Format("2006-01-02") }

// remainingTime is a remaining time in one unit: 9y, 364d, 31h, 12m; "-3d" is three days ago.
func remainingTime(d time.Duration) string {
	if d < 0 {
		return "-" + remainingTime(-d)
	}
	switch {
	case d >= 2*365*day:
		return fmt.Sprintf("%dy", d/(365*day))
	case d >= 2*day:
		return fmt.Sprintf("%dd", d/day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

// elapsedTime is an elapsed time: 0.9s, 12s, 3m20s.
func elapsedTime(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// pluralOf names several objects of a kind.
func pluralOf(kind string) string {
	if stem, is := strings.CutSuffix(kind, "y"); is {
		return stem + "ies"
	}
	return kind + "s"
}

// countOf is "1 certificate" or "3 certificates".
func countOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// someNames lists at most six names.
func someNames(names []string) string { return fleet.Some(names) }

func joinServices(services []certs.Service, separator string) string {
	names := make([]string, 0, len(services))
	for _, s := range services {
		names = append(names, string(s))
	}
	return strings.Join(names, separator)
}

// commonName is the common name in a distinguished name.
func commonName(dn string) string { return certs.CommonName(dn) }

// cleanText replaces control characters, which could rewrite what the terminal shows, in a text
// that came from a node or a server.
func cleanText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// cleanLines is cleanText for a text that may have several lines.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = cleanText(l)
	}
	return strings.Join(lines, "\n")
}
