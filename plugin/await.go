package plugin

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// pauseOnce waits for the time between two checks, shorter in tests; false when ctx ended.
func (a *app) pauseOnce(ctx context.Context) bool {
	pause := wait.RequestEvery
	if a.hurry {
		pause = time.Millisecond
	}
	return wait.SleepFor(ctx, pause) == nil
}

// awaitCondition repeats a check until it holds or the timeout is over. Errors of a connection are
// retried, since API servers restart.
func (a *app) awaitCondition(ctx context.Context, timeout time.Duration, what string, holds func(context.Context) (bool, error)) error {
	ctx, stop := context.WithTimeoutCause(ctx, timeout, errTooLong)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last error
	for waited := time.Duration(0); ; waited += wait.RequestEvery { // counted, since tests do not wait
		ok, err := holds(ctx)
		switch {
		case ok:
			return nil
		case err != nil && !kube.IsRestarting(err) && ctx.Err() == nil:
			return err
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if waited >= timeout {
			cancel(errTooLong)
		}
		if ctx.Err() != nil || !a.pauseOnce(ctx) {
			if last != nil {
				return fmt.Errorf("wait until %s: %w (%w)", what, context.Cause(ctx), last)
			}
			return fmt.Errorf("wait until %s: %w", what, context.Cause(ctx))
		}
	}
}

// validName reports whether an object may have that name.
func validName(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
