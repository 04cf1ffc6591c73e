package agent

import (
	"slices"
	"time"
)

// fruitless is the number of scans without a new result after which the next ones are
// delayed.
const fruitless = 5

// settling is the time until the next scan after a change: a renewed certificate is served a
// while after its file was written, and no file changes then.
var settling = []time.Duration{2 * time.Second, 10 * time.Second, 60 * time.Second}

// schedule decides when to scan the node. Its methods take the time, it has no clock.
type schedule struct {
	interval time.Duration
	random   func() float64 // from 0 to 1

	poll    time.Time
	settle  []time.Time
	pending time.Time // when to scan after changes of files; zero: no file changed
	latest  time.Time // by when at the latest
	vain    int       // scans in a row after changes of files that found nothing new
}

// noteEvent notes that a file has changed.
func (s *schedule) noteEvent(now time.Time) {
	wait := 200 * time.Millisecond // a renewal writes several files
	most := time.Second            // the scan is taken then although files continue to change
	for range s.vain - fruitless {
		wait = min(2*wait, 30*time.Second)
		most = min(2*most, 30*time.Second)
	}
	if s.pending.IsZero() {
		s.latest = now.Add(most)
	}
	s.pending = earlierOf(now.Add(wait), s.latest)
}

// noteScan notes a scan, and whether its result was new.
func (s *schedule) noteScan(now time.Time, changed bool) {
	switch {
	case changed:
		s.vain = 0
		s.settle = s.settle[:0]
		for _, d := range settling {
			s.settle = append(s.settle, now.Add(d))
		}
	case !s.pending.IsZero():
		s.vain++
	case !s.poll.After(now):
		s.vain = 0 // so that one busy hour is not remembered for ever
	}
	s.pending = time.Time{}
	s.latest = time.Time{}
	s.settle = slices.DeleteFunc(s.settle, func(t time.Time) bool { return !t.After(now) })
	// Not all nodes at the same time.
	s.poll = now.Add(time.Duration((0.9 + 0.2*s.random()) * float64(s.interval)))
}

// nextScan returns the time of the next scan.
func (s *schedule) nextScan() time.Time {
	next := s.poll
	if len(s.settle) > 0 {
		next = earlierOf(next, s.settle[0])
	}
	if !s.pending.IsZero() {
		next = earlierOf(next, s.pending)
	}
	return next
}

func earlierOf(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
