package controller

import (
	"fmt"
	"sync/atomic"
	"time"
)

// stuckAfter is how long a loop may take to come round. None sleeps for longer than
// [longest], and what takes longer than that, a rotation, beats as it makes progress.
const stuckAfter = time.Hour

// pulse is when a loop was last seen to go on. It keeps the reading of the monotonic clock:
// a clock that is set by hours makes no loop look stuck.
type pulse struct{ at atomic.Pointer[time.Time] }

func (p *pulse) beat(now time.Time) { p.at.Store(&now) }

// alive is an error once a loop that has begun does not come round any more.
func (p *pulse) alive(what string, now time.Time) error {
	at := p.at.Load()
	if at == nil {
		return nil // not begun: another watcher leads
	}
	if since := now.Sub(*at); since > stuckAfter {
		return fmt.Errorf("%s has not come round for %s", what, since.Round(time.Minute))
	}
	return nil
}
