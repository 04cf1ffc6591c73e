package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// runNext runs the next rotation, and returns after how long to check again without a trigger.
func (r *Runner) runNext(ctx context.Context) time.Duration {
	const idle = time.Minute
	r.pulse.recordBeat(r.Now())
	var list v1alpha1.CertificateRotationList
	if err := r.Client.List(ctx, &list); err != nil {
		r.Log.Error("list rotations", "error", err)
		return retryAfter
	}
	open := slices.DeleteFunc(list.Items, func(c v1alpha1.CertificateRotation) bool {
		if c.HasEnded() {
			r.observeEnded(ctx, &c)
			return true
		}
		return c.DeletionTimestamp != nil || r.Now().Before(r.unwritableUntil[c.UID])
	})
	open = slices.DeleteFunc(open, func(c v1alpha1.CertificateRotation) bool {
		if c.Spec.Suspend {
			r.setSuspended(ctx, &c)
		}
		return c.Spec.Suspend
	})
	if len(open) == 0 {
		return idle
	}
	slices.SortStableFunc(open, byUrgency)
	for i := range open[1:] {
		r.setPending(ctx, &open[i+1], fmt.Sprintf("waiting for rotation %q", open[0].Name))
	}
	if r.NotifyOnly {
		r.setPending(ctx, &open[0], "the watcher is notify-only; to rotate: kubectl rotate-certs "+pluginArguments(open[0].Spec))
		return idle
	}
	// The cache may not have the last status yet that this runner wrote. A rotation that has
	// ended must not run again.
	var latest v1alpha1.CertificateRotation
	if err := r.Reader.Get(ctx, keyOf(&open[0]), &latest); err != nil || latest.HasEnded() || latest.Spec.Suspend {
		if ignoreNotFound(err) != nil {
			r.Log.Error("read rotation", "rotation", open[0].Name, "error", err)
			return retryAfter
		}
		return debounceDelay
	}
	if r.retryName != latest.Name {
		r.retryName = latest.Name
		r.retryAt = time.Time{}
		r.failingSince = time.Time{}
	}
	// The status that was just written triggers this loop too, and does not shorten the pause.
	if left := r.retryAt.Sub(r.Now()); left > 0 {
		return left
	}
	pause := r.runRotation(ctx, &latest)
	r.retryAt = r.Now().Add(pause)
	return pause
}

// byUrgency orders rotations: those in progress first, then those of compromised keys, then by
// age.
func byUrgency(a, b v1alpha1.CertificateRotation) int {
	rank := func(c v1alpha1.CertificateRotation) int {
		switch {
		case c.Status.RotationID != "":
			return 0
		case c.Spec.Compromised:
			return 1
		}
		return 2
	}
	return cmp.Or(cmp.Compare(rank(a), rank(b)), a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
}

// setPending writes into the status why a rotation waits.
func (r *Runner) setPending(ctx context.Context, c *v1alpha1.CertificateRotation, why string) {
	if c.State() == v1alpha1.StatePending && c.Message() == why {
		return
	}
	if state := c.State(); state != "" && state != v1alpha1.StatePending && state != v1alpha1.StateSuspended {
		return
	}
	c = c.DeepCopy()
	setState(c, v1alpha1.StatePending, why, r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a pending rotation", "rotation", c.Name, "error", err)
	}
}

// setSuspended writes into the status that a rotation waits for spec.suspend to be false.
func (r *Runner) setSuspended(ctx context.Context, c *v1alpha1.CertificateRotation) {
	if c.State() == v1alpha1.StateSuspended && c.Status.ObservedGeneration == c.Generation {
		return
	}
	c = c.DeepCopy()
	why := "suspended; it starts once spec.suspend is false"
	if c.Status.RotationID != "" {
		why = "suspended; it continues once spec.suspend is false"
	}
	setState(c, v1alpha1.StateSuspended, why, r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a suspended rotation", "rotation", c.Name, "error", err)
	}
}

// observeEnded updates the observed generation of a rotation that has ended, and nothing else:
// kstatus would report it as in progress otherwise.
func (r *Runner) observeEnded(ctx context.Context, c *v1alpha1.CertificateRotation) {
	if c.Status.ObservedGeneration == c.Generation || c.DeletionTimestamp != nil {
		return
	}
	c = c.DeepCopy()
	c.Status.ObservedGeneration = c.Generation
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a rotation that has ended", "rotation", c.Name, "error", err)
	}
}
