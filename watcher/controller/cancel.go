package controller

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/types"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// Why a rotation is stopped while it runs, other than by the end of the watcher.
var (
	errDeleted   = errors.New("its CertificateRotation was deleted")
	errSuspended = errors.New("spec.suspend was set")
)

// Deleted cancels the rotation of an object that was deleted, if it runs. The node that is
// being worked on finishes or undoes its part. It never blocks.
func (r *Runner) Deleted(uid types.UID) { r.stop(uid, errDeleted) }

// Changed stops the rotation of an object whose spec.suspend was set, if it runs, in the same
// way. It never blocks.
func (r *Runner) Changed(c *v1alpha1.CertificateRotation) {
	if c.Spec.Suspend {
		r.stop(c.UID, errSuspended)
	}
}

func (r *Runner) stop(uid types.UID, why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if uid != "" && uid == r.current {
		r.Log.Info("no other node is begun", "why", why, "uid", uid)
		if r.why == nil || errors.Is(why, errDeleted) {
			r.why = why
		}
		r.cancel()
	}
}

// stoppedBy says why the rotation that runs was stopped; nil: it was not.
func (r *Runner) stoppedBy() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

// cancelable is ctx until [Runner.stop] is called for a rotation.
func (r *Runner) cancelable(ctx context.Context, uid types.UID) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current, r.cancel, r.why = uid, cancel, nil
	return ctx, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.current = ""
		cancel()
	}
}
