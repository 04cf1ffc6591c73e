package plugin

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation"
)

// checkEvery is the pause between two checks of a condition that is waited for.
const checkEvery = time.Second

// pauseOnce waits for the time between two checks, shorter in tests; false when ctx ended.
func (a *app) pauseOnce(ctx context.Context) bool {
	pause := checkEvery
	if a.hurry {
		pause = time.Millisecond
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// awaitCondition repeats a check until it holds or the timeout is over. Errors of a connection are
// retried, since API servers restart.
func (a *app) awaitCondition(ctx context.Context, timeout time.Duration, what string, holds func(context.Context) (bool, error)) error {
	ctx, stop := context.WithTimeoutCause(ctx, timeout, errTooLong)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var last error
	for waited := time.Duration(0); ; waited += checkEvery { // counted, since tests do not wait
		ok, err := holds(ctx)
		switch {
		case ok:
			return nil
		case err != nil && !isTransient(err) && ctx.Err() == nil:
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

// isTransient reports whether an error is one of a connection, of a server that restarts, or of a
// load balancer whose server does not answer in time.
func isTransient(err error) bool {
	return utilnet.IsConnectionRefused(err) || utilnet.IsConnectionReset(err) || utilnet.IsProbableEOF(err) || utilnet.IsTimeout(err) ||
		apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err) || apierrors.IsTooManyRequests(err) || apierrors.IsInternalError(err)
}

// validName reports whether an object may have that name.
func validName(s string) bool { return len(validation.IsDNS1123Subdomain(s)) == 0 }
