package rotate

import (
	"context"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// maxCrashes is the number of instances in a row that may exit before the wait for a component
// ends. One may exit because another component was still starting.
const maxCrashes = 2

// crashError means that a component exits instead of becoming healthy.
type crashError struct{ times int }

func (e *crashError) Error() string {
	if e.times == 1 {
		return "it exited"
	}
	return fmt.Sprintf("it exited %d times", e.times)
}

// untilCrash returns a context that ends, with a *crashError as its cause, when the instances
// after r.old exit one after the other, or one exits and its supervisor pauses for long:
// waiting for the whole deadline would only make the outage longer. A rollback waits for the
// whole deadline.
func (c *committing) untilCrash(ctx context.Context, r *restarting) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := func() { cancel(nil) }
	if c.undoing {
		return ctx, stop
	}
	go func() {
		var ignored error // a panic here must not end the process
		defer recoverAs(&ignored)
		exited := map[string]bool{}
		for {
			i, err := c.Restarter.CurrentInstance(ctx, r.component)
			crashed := err == nil && i.Exited && i.ID != r.old.ID
			if crashed {
				exited[i.ID] = true
			}
			if len(exited) >= maxCrashes || (crashed && (i.Final || i.BackOff > component.FirstBackOff)) {
				cancel(&crashError{len(exited)})
				return
			}
			if wait.SleepFor(ctx, 200*time.Millisecond) != nil {
				return
			}
		}
	}()
	return ctx, stop
}
