package component

import (
	"testing"
	"time"
)

func TestBackOffIsPredicted(t *testing.T) {
	now := time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)
	// began and waited: how long ago the container started, and how long before that
	// the one before it had ended.
	for _, test := range []struct {
		name          string
		attempt       uint32
		began, waited time.Duration
		unknown       bool // the one before is not known any more
		want          time.Duration
	}{
		{name: "never restarted", attempt: 0, began: time.Minute},
		{name: "it has run for long", attempt: 7, began: 11 * time.Minute, waited: 80 * time.Second},
		{name: "after the first restart", attempt: 1, began: 5 * time.Second, waited: 1200 * time.Millisecond, want: 10 * time.Second},
		{name: "after the second", attempt: 2, began: 5 * time.Second, waited: 10500 * time.Millisecond, want: 20 * time.Second},
		{name: "after the third", attempt: 3, began: 5 * time.Second, waited: 22800 * time.Millisecond, want: 40 * time.Second},
		{name: "at the longest", attempt: 9, began: 5 * time.Second, waited: 310 * time.Second, want: 300 * time.Second},
		{name: "nearly forgotten", attempt: 1, began: 9 * time.Minute, waited: time.Second, want: 10 * time.Second},
		{name: "only the number is known", attempt: 3, began: time.Minute, unknown: true, want: 40 * time.Second},
		{name: "only a large number is known", attempt: 4000, began: time.Minute, unknown: true, want: 300 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := backOff{now: now, started: now.Add(-test.began), attempt: test.attempt}
			if !test.unknown {
				b.previousEnded = b.started.Add(-test.waited)
			}
			if got := b.predictWait(); got != test.want {
				t.Errorf("predicted %s, want %s", got, test.want)
			}
		})
	}
}
