package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// errPlanUsed means that a plan was carried out before: the nodes are not as it describes them.
var errPlanUsed = hint.AddTo(errors.New("this plan was begun already"), "plan again")

// endings are the errors of the rotations that this process has carried out.
type endings struct {
	stopped <-chan struct{} // closed when the command is interrupted

	mu   sync.Mutex
	all  []error
	late []error // those that ended after the command was interrupted
}

// noteEnd keeps the error of a rotation, which names its cluster.
func (e *endings) noteEnd(err error) {
	if err == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, err)
	select {
	case <-e.stopped:
		e.late = append(e.late, err)
	default: // its page has reported it
	}
}

// endError is the error of the command: that of serving the pages, and those of rotations that no
// page can report any more. nil: all ended well.
func (e *endings) endError(serving error) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	errs := e.late
	if serving != nil {
		errs = append([]error{serving}, e.all...)
	}
	joined := errors.Join(errs...)
	if joined == nil {
		return nil
	}
	return &explainedError{cause: joined, shown: joined}
}

// ofRotation is the error of a rotation for the terminal, where several clusters are reported.
func (d *contextCluster) ofRotation(err error) error {
	if err == nil {
		return nil
	}
	shown := err
	if errors.Is(err, errLeftOut) {
		shown = errLeftOut
	}
	return &explainedError{cause: err, shown: fmt.Errorf("rotation of %s: %w", d.name, shown)}
}

// explainRun is the error of a rotation with the command that continues it: to run the dashboard
// again continues nothing.
func (d *contextCluster) explainRun(err error, command string) error {
	if err == nil {
		return nil
	}
	shown := explainCause(err, d.flags.recoverHint)
	text := strings.ReplaceAll(shown.Error(), "run the same command again:", "run "+command+":")
	return &explainedError{cause: err, shown: &rewordedError{shown, text}}
}

// notBegun says with an error that nothing has begun.
func (d *contextCluster) notBegun(err error) error {
	return &explainedError{cause: errors.Join(dashboard.ErrNotBegun, err), shown: explainCause(err, d.flags.recoverHint)}
}

// runFunc carries a plan out.
type runFunc func(context.Context, func(fleet.Progress)) (*v1alpha1.RotationReport, error)

// onceOnly refuses a second run of a plan.
func (d *contextCluster) onceOnly(run runFunc) runFunc {
	var begun atomic.Bool
	return func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
		if begun.Swap(true) {
			return nil, d.notBegun(errPlanUsed)
		}
		return run(ctx, progress)
	}
}

// runHere carries a plan out in this process, as a rotation's command does.
func (d *contextCluster) runHere(o *rotateOptions, c *cluster, p fleet.Rotation, command string) runFunc {
	return d.onceOnly(func(ctx context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
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
			return nil, d.notBegun(err)
		}
		err = d.explainRun(err, command)
		d.ending.noteEnd(d.ofRotation(err))
		return report, err
	})
}

// checkLock names the holder of the cluster's lock, before anything is done.
func (d *contextCluster) checkLock(ctx context.Context, c *cluster) error {
	if c.held == nil {
		return nil
	}
	if err := c.held(ctx); err != nil {
		return d.notBegun(err)
	}
	return nil
}
