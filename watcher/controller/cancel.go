package controller

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// The reasons for which a rotation in progress is stopped, other than the end of the watcher.
var (
	errDeleted   = errors.New("its CertificateRotation was deleted")
	errSuspended = errors.New("spec.suspend was set")
)

// HandleDeleted cancels the rotation of a deleted object, if it is in progress. The current
// node is finished or rolled back. HandleDeleted never blocks.
func (r *Runner) HandleDeleted(uid types.UID) { r.stopRotation(uid, errDeleted) }

// HandleChanged stops the rotation of an object whose spec.suspend was set, in the same way.
// It never blocks.
func (r *Runner) HandleChanged(c *v1alpha1.CertificateRotation) {
	if c.Spec.Suspend {
		r.stopRotation(c.UID, errSuspended)
	}
}

func (r *Runner) stopRotation(uid types.UID, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid != "" && uid == r.current {
		r.Log.Info("stopping a rotation: no other node is started", "reason", why.Error(), "uid", uid)
		if r.stopReason == nil || errors.Is(why, errDeleted) {
			r.stopReason = why
		}
		r.cancel()
	}
}

// stoppedBy is why the rotation in progress was stopped; nil: it was not.
func (r *Runner) stoppedBy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.stopReason
}

// withCancel returns a context that [Runner.stopRotation] cancels.
func (r *Runner) withCancel(ctx context.Context, uid types.UID) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = uid
	r.cancel = cancel
	r.stopReason = nil
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.current = ""
		cancel()
	}
}
