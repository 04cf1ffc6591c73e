package controller

import (
	"fmt"
	"sync/atomic"
	"time"
)

// pulse is when a loop last completed a turn. The monotonic clock reading is kept, so that a
// clock change does not make a loop look stuck.
type pulse struct{ at atomic.Pointer[time.Time] }

func (p *pulse) recordBeat(now time.Time) { p.at.Store(&now) }

// checkAlive returns an error if a loop that has started is stuck. No loop sleeps longer than
// [maxDecideInterval]; a rotation may take longer, and records a beat with each progress.
func (p *pulse) checkAlive(what string, now time.Time) error {
	at := p.at.Load()
	if at == nil {
		return nil // not started: another watcher leads
	}
	if since := now.Sub(*at); since > 2*maxDecideInterval {
		return fmt.Errorf("%s has been stuck for %s", what, since.Round(time.Minute))
	}
	return nil
}
