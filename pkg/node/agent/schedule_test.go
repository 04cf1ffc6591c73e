package agent

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func newSchedule() schedule {
	s := schedule{interval: 5 * time.Minute, random: func() float64 { return 0.5 }}
	s.noteScan(noon, false)
	return s
}

func afterStart(t time.Time) time.Duration { return t.Sub(noon) }

func TestPollsWhenNothingHappens(t *testing.T) {
	s := newSchedule()
	assert.Equal(t, 5*time.Minute, afterStart(s.nextScan()))
	s.random = func() float64 { return 1 }
	s.noteScan(noon, false)
	assert.Equal(t, 5*time.Minute+30*time.Second, afterStart(s.nextScan()), "nodes do not all scan at the same time")
}

func TestScansSoonAfterTheLastChange(t *testing.T) {
	s := newSchedule()
	s.noteEvent(noon)
	assert.Equal(t, 200*time.Millisecond, afterStart(s.nextScan()))
	s.noteEvent(noon.Add(100 * time.Millisecond))
	assert.Equal(t, 300*time.Millisecond, afterStart(s.nextScan()), "several files are one change")
}

func TestDoesNotWaitForEverWhileChangesContinue(t *testing.T) {
	s := newSchedule()
	for at := time.Duration(0); at < 3*time.Second; at += 100 * time.Millisecond {
		s.noteEvent(noon.Add(at))
	}
	assert.Equal(t, time.Second, afterStart(s.nextScan()))
}

func TestScansAgainUntilServedCertificatesHaveSettled(t *testing.T) {
	s := newSchedule()
	now := noon
	s.noteEvent(now)
	s.noteScan(now, true)
	var scans []time.Duration
	for range 4 {
		now = s.nextScan()
		scans = append(scans, afterStart(now))
		s.noteScan(now, false)
	}
	assert.Equal(t, []time.Duration{2 * time.Second, 10 * time.Second, time.Minute, 6 * time.Minute}, scans)
}

func TestSettlingBeginsAnewWithEachChange(t *testing.T) {
	s := newSchedule()
	s.noteScan(noon, true)
	s.noteScan(noon.Add(2*time.Second), true)
	assert.Equal(t, 4*time.Second, afterStart(s.nextScan()))
}

func TestIrrelevantChangesAreScannedRarely(t *testing.T) {
	s := newSchedule()
	now := noon
	scans := 0
	for now.Before(noon.Add(10 * time.Minute)) { // something writes without a pause
		s.noteEvent(now)
		s.noteEvent(now.Add(200 * time.Millisecond))
		now = s.nextScan()
		s.noteScan(now, false)
		scans++
	}
	assert.Less(t, scans, 60)

	s.noteEvent(now)
	s.noteScan(now, true) // at last something that counts
	s.noteEvent(now)
	assert.Equal(t, 200*time.Millisecond, s.nextScan().Sub(now))
}
