package agent

import (
	"slices"
	"time"
)

const (
	// quiet is how long after the last change of a file a look is taken: whoever renews
	// certificates writes several files.
	quiet = 200 * time.Millisecond
	// patience is after how long it is taken though changes go on.
	patience = time.Second
	// patient bounds both where files change all the time and nothing comes of it.
	patient = 30 * time.Second
	// fruitless is after how many looks in vain that begins.
	fruitless = 5
)

// settling is when to look again after something has changed: a renewed certificate is
// served a while after its file was written, which changes no file.
var settling = []time.Duration{2 * time.Second, 10 * time.Second, 60 * time.Second}

// schedule decides when to look at the node. It is told what happens, and has no clock.
type schedule struct {
	interval time.Duration
	random   func() float64 // from 0 to 1

	poll    time.Time
	settle  []time.Time
	pending time.Time // when to look for what files told of; zero: they told nothing
	latest  time.Time // by when at the latest
	vain    int       // looks in a row that files caused and that found nothing
}

// event says that a file has changed.
func (s *schedule) event(now time.Time) {
	wait, most := quiet, patience
	for range s.vain - fruitless {
		wait, most = min(2*wait, patient), min(2*most, patient)
	}
	if s.pending.IsZero() {
		s.latest = now.Add(most)
	}
	s.pending = earlier(now.Add(wait), s.latest)
}

// looked says that a look was taken, and whether it found something new.
func (s *schedule) looked(now time.Time, changed bool) {
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
	s.pending, s.latest = time.Time{}, time.Time{}
	s.settle = slices.DeleteFunc(s.settle, func(t time.Time) bool { return !t.After(now) })
	// Not all nodes at the same time.
	s.poll = now.Add(time.Duration((0.9 + 0.2*s.random()) * float64(s.interval)))
}

// next is when the next look is due.
func (s *schedule) next() time.Time {
	next := s.poll
	if len(s.settle) > 0 {
		next = earlier(next, s.settle[0])
	}
	if !s.pending.IsZero() {
		next = earlier(next, s.pending)
	}
	return next
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
