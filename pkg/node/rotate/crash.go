package rotate

import (
	"context"
	"fmt"
	"time"
)

const (
	// crashes is how many instances in a row may exit before a component is given up:
	// one may have met a neighbour that was still starting.
	crashes = 2
	// crashEvery is how often that is looked at.
	crashEvery = 200 * time.Millisecond
)

// crashError means that a component exits instead of becoming healthy.
type crashError struct{ times int }

func (e *crashError) Error() string {
	if e.times == 1 {
		return "it exited"
	}
	return fmt.Sprintf("it exited %d times", e.times)
}

// untilCrash returns a context that ends, with a *crashError as its cause, when the
// instances after r.old exit one after the other, or one exits and the next is long in
// coming: waiting for the whole deadline would only make the outage longer. While undoing, nobody is given up.
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
		tick := time.NewTicker(crashEvery)
		defer tick.Stop()
		for {
			i, err := c.Restarter.Current(ctx, r.component)
			crashed := err == nil && i.Exited && i.ID != r.old.ID
			if crashed {
				exited[i.ID] = true
			}
			if len(exited) >= crashes || (crashed && i.BackOff > patience) {
				cancel(&crashError{len(exited)})
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return ctx, stop
}
