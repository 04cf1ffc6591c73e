package layout

import (
	"strconv"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// unitSeconds reads a time span as systemd.time(7) has it: "300", "5min 20s". More than a day, by
// one number or in all, is a day. 0: no limit, or not understood.
func unitSeconds(text string) int64 {
	var sum time.Duration
	rest := strings.ReplaceAll(text, " ", "")
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		number, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return 0
		}
		rest = rest[digits:]
		letters := strings.IndexAny(rest, "0123456789.")
		if letters < 0 {
			letters = len(rest)
		}
		unit, known := timeUnits[rest[:letters]]
		if !known {
			return 0
		}
		sum += time.Duration(min(number, float64(certs.Day/unit)) * float64(unit))
		rest = rest[letters:]
	}
	return int64(min(sum, certs.Day) / time.Second)
}

var timeUnits = map[string]time.Duration{
	"":   time.Second,
	"us": time.Microsecond, "usec": time.Microsecond, "ms": time.Millisecond, "msec": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
}
