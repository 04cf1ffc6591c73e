package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func newSchedule() schedule {
	s := schedule{interval: 5 * time.Minute, random: func() float64 { return 0.5 }}
	s.looked(noon, false)
	return s
}

func after(t time.Time) time.Duration { return t.Sub(noon) }

func TestPollsWhenNothingHappens(t *testing.T) {
	s := newSchedule()
	assert.Equal(t, 5*time.Minute, after(s.next()))
	s.random = func() float64 { return 1 }
	s.looked(noon, false)
	assert.Equal(t, 5*time.Minute+30*time.Second, after(s.next()), "nodes do not all scan at the same time")
}

func TestScansSoonAfterTheLastChange(t *testing.T) {
	s := newSchedule()
	s.event(noon)
	assert.Equal(t, quiet, after(s.next()))
	s.event(noon.Add(100 * time.Millisecond))
	assert.Equal(t, 100*time.Millisecond+quiet, after(s.next()), "several files are one change")
}

func TestDoesNotWaitForEverWhileChangesGoOn(t *testing.T) {
	s := newSchedule()
	for at := time.Duration(0); at < 3*time.Second; at += 100 * time.Millisecond {
		s.event(noon.Add(at))
	}
	assert.Equal(t, patience, after(s.next()))
}

func TestScansAgainUntilServedCertificatesHaveSettled(t *testing.T) {
	s := newSchedule()
	now := noon
	s.event(now)
	s.looked(now, true)
	var looks []time.Duration
	for range 4 {
		now = s.next()
		looks = append(looks, after(now))
		s.looked(now, false)
	}
	assert.Equal(t, []time.Duration{2 * time.Second, 10 * time.Second, time.Minute, 6 * time.Minute}, looks)
}

func TestSettlingBeginsAnewWithEachChange(t *testing.T) {
	s := newSchedule()
	s.looked(noon, true)
	s.looked(noon.Add(2*time.Second), true)
	assert.Equal(t, 4*time.Second, after(s.next()))
}

func TestIrrelevantChangesAreScannedRarely(t *testing.T) {
	s := newSchedule()
	now := noon
	looks := 0
	for now.Before(noon.Add(10 * time.Minute)) { // something writes without a pause
		s.event(now)
		s.event(now.Add(quiet))
		now = s.next()
		s.looked(now, false)
		looks++
	}
	assert.Less(t, looks, 60)

	s.event(now)
	s.looked(now, true) // at last something that counts
	s.event(now)
	assert.Equal(t, quiet, s.next().Sub(now))
}
