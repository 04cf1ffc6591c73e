package printers

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Nothing fills a cell that has no value.
const Nothing = "–"

// UTCMinute is a time as every line shows it: absolute, UTC, to the minute.
func UTCMinute(t time.Time) string {
	if t.IsZero() {
		return Nothing
	}
	return t.UTC().Format("2006-01-02 15:04 UTC")
}

// UTCDate is the day of a time, in UTC.
func UTCDate(t time.Time) string { return t.UTC().Format("2006-01-02") }

// isUnlimited reports whether a length of time is the longest that a Duration holds, but for less
// than a day: that until the year 9999 is longer.
func isUnlimited(d time.Duration) bool { return d >= math.MaxInt64/certs.Day*certs.Day }

// RemainingTime is a remaining time in one unit: 9y, 364d, 31h, 12m; "-3d" is three days ago.
func RemainingTime(d time.Duration) string {
	if d < 0 {
		return "-" + RemainingTime(max(-d, -(d+1))) // the least Duration has no opposite
	}
	switch {
	case isUnlimited(d):
		return ">292y"
	case d >= 2*365*certs.Day:
		return fmt.Sprintf("%dy", d/(365*certs.Day))
	case d >= 2*certs.Day:
		return fmt.Sprintf("%dd", d/certs.Day)
	case d >= 2*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	case d >= 2*time.Minute:
		return fmt.Sprintf("%dm", d/time.Minute)
	default:
		return fmt.Sprintf("%ds", d/time.Second)
	}
}

// ElapsedTime is an elapsed time: 0.9s, 12s, 3m20s.
func ElapsedTime(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}

// ValidityInWords is for how long a certificate is valid: 365 days, 12 hours, 90 minutes. Signers
// begin some minutes in the past, which does not count.
func ValidityInWords(d time.Duration) string {
	switch {
	case isUnlimited(d):
		return "more than 292 years"
	case d >= 2*certs.Day:
		return CountOf(int(d.Round(certs.Day)/certs.Day), "day")
	case d >= 2*time.Hour:
		return CountOf(int(d.Round(time.Hour)/time.Hour), "hour")
	default:
		return CountOf(int(d.Round(time.Minute)/time.Minute), "minute")
	}
}

// PluralOf names several objects of a kind.
func PluralOf(kind string) string {
	if stem, is := strings.CutSuffix(kind, "y"); is {
		return stem + "ies"
	}
	return kind + "s"
}

// CountOf is "1 certificate" or "3 certificates".
func CountOf(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// SomeNames lists at most six names.
func SomeNames(names []string) string {
	const shown = 6
	if more := len(names) - shown; more > 1 {
		return strings.Join(names[:shown], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// JoinServices is a list of services as text.
func JoinServices(services []certs.Service, separator string) string {
	names := make([]string, 0, len(services))
	for _, s := range services {
		names = append(names, string(s))
	}
	return strings.Join(names, separator)
}

// CleanText replaces control characters, which could rewrite what the terminal shows, in a text
// that came from a node or a server.
func CleanText(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

// ShortText is a text from elsewhere on one line: an unprintable character is a space, and the
// text is cut after some characters.
func ShortText(text string, most int) string {
	printable := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, strings.ToValidUTF8(text, "�"))
	runes := []rune(strings.Join(strings.Fields(printable), " "))
	if len(runes) <= most {
		return string(runes)
	}
	return string(runes[:most]) + "…"
}

// CleanLines is cleanText for a text that may have several lines.
func CleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = CleanText(l)
	}
	return strings.Join(lines, "\n")
}

// ToTheSecond is a time to the second, for recent events.
func ToTheSecond(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// ShellWord quotes a word where a shell would split it or replace a part of it.
func ShellWord(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@,=+%", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
