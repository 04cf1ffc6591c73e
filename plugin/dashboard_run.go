package plugin

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

// errPlanUsed means that a plan was carried out before: the nodes are not as it describes them.
var errPlanUsed = errors.New("this plan was begun already\nhint: plan again")

// endings are the errors of the rotations that the command's end has stopped.
type endings struct {
	stopped <-chan struct{} // closed when the command is interrupted

	mu  sync.Mutex
	all []error
}

// noteEnd keeps the error of a rotation that ended after the command was interrupted.
func (e *endings) noteEnd(err error) {
	select {
	case <-e.stopped:
	default:
		return // its page has reported it
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, err)
}

// stoppedError is nil where every rotation had ended well.
func (e *endings) stoppedError() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.all...)
}

// runFunc carries a plan out.
type runFunc func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error)

// onceOnly refuses a second run of a plan.
func onceOnly(run runFunc) runFunc {
	var begun atomic.Bool
	return func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		if begun.Swap(true) {
			return nil, errPlanUsed
		}
		return run(ctx, progress)
	}
}

// runHere carries a plan out in this process, as a rotation's command does.
func (d *contextCluster) runHere(o *rotateOptions, c *cluster, p fleet.Rotation, command string) runFunc {
	return onceOnly(func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		if err := d.checkLock(ctx, c); err != nil {
			return nil, err
		}
		show := newProgress(io.Discard, d.app.now, nil, nil)
		show.cluster = d.name
		show.command = command
		d.shown.showProgress(show)
		defer d.shown.hideProgress(show)
		report, err := o.executeRotation(ctx, c, p, func(event fleet.Progress) {
			show.showEvent(event)
			progress(event)
		})
		var held *kube.HeldError
		if errors.As(err, &held) {
			report = nil // nothing has begun
		}
		d.ending.noteEnd(err)
		return report, explainError(err, d.flags)
	})
}

// checkLock names the holder of the cluster's lock, before anything is done.
func (d *contextCluster) checkLock(ctx context.Context, c *cluster) error {
	if c.held == nil {
		return nil
	}
	return explainError(c.held(ctx), d.flags)
}
