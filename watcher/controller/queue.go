package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// next runs what is to be run, and returns after how long to look again unasked.
func (r *Runner) next(ctx context.Context) time.Duration {
	const idle = time.Minute
	r.pulse.beat(r.Now())
	var list v1alpha1.CertificateRotationList
	if err := r.Client.List(ctx, &list); err != nil {
		r.Log.Error("list rotations", "error", err)
		return retryAfter
	}
	open := slices.DeleteFunc(list.Items, func(c v1alpha1.CertificateRotation) bool {
		if Ended(&c) {
			r.observe(ctx, &c)
			return true
		}
		return c.DeletionTimestamp != nil || r.Now().Before(r.unwritten[c.UID])
	})
	open = slices.DeleteFunc(open, func(c v1alpha1.CertificateRotation) bool {
		if c.Spec.Suspend {
			r.suspend(ctx, &c)
		}
		return c.Spec.Suspend
	})
	if len(open) == 0 {
		return idle
	}
	slices.SortStableFunc(open, byUrgency)
	for i := range open[1:] {
		r.accept(ctx, &open[i+1], fmt.Sprintf("waiting for rotation %q", open[0].Name))
	}
	if r.NotifyOnly {
		r.accept(ctx, &open[0], "this watcher only notifies; run it by hand: kubectl rotate-certs "+words(open[0].Spec))
		return idle
	}
	// The cache may lag behind what this very runner wrote: one that has ended must not
	// run again because of that.
	var latest v1alpha1.CertificateRotation
	if err := r.Reader.Get(ctx, keyOf(&open[0]), &latest); err != nil || Ended(&latest) || latest.Spec.Suspend {
		if ignoreNotFound(err) != nil {
			r.Log.Error("read rotation", "rotation", open[0].Name, "error", err)
			return retryAfter
		}
		return settle
	}
	if r.later != latest.Name {
		r.later, r.until, r.failed = latest.Name, time.Time{}, time.Time{}
	}
	// What was just written about it wakes this loop as well, and is no reason to hurry.
	if left := r.until.Sub(r.Now()); left > 0 {
		return left
	}
	pause := r.run(ctx, &latest)
	r.until = r.Now().Add(pause)
	return pause
}

// byUrgency puts what was begun first, then what is compromised, then the older one.
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

// accept tells that a rotation was seen and waits.
func (r *Runner) accept(ctx context.Context, c *v1alpha1.CertificateRotation, why string) {
	if c.State() == v1alpha1.StatePending && c.Message() == why {
		return
	}
	if state := c.State(); state != "" && state != v1alpha1.StatePending && state != v1alpha1.StateSuspended {
		return
	}
	c = c.DeepCopy()
	become(c, v1alpha1.StatePending, why, r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a rotation that waits", "rotation", c.Name, "error", err)
	}
}

// suspend tells that a rotation does not go on while spec.suspend is set.
func (r *Runner) suspend(ctx context.Context, c *v1alpha1.CertificateRotation) {
	if c.State() == v1alpha1.StateSuspended && c.Status.ObservedGeneration == c.Generation {
		return
	}
	c = c.DeepCopy()
	why := "it begins once spec.suspend is false"
	if c.Status.RotationID != "" {
		why = "it goes on where it stopped once spec.suspend is false"
	}
	become(c, v1alpha1.StateSuspended, why, r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a suspended rotation", "rotation", c.Name, "error", err)
	}
}

// observe tells that a change to a rotation that has ended was seen, and changes nothing: else
// it would look as if something were still to come.
func (r *Runner) observe(ctx context.Context, c *v1alpha1.CertificateRotation) {
	if c.Status.ObservedGeneration == c.Generation || c.DeletionTimestamp != nil {
		return
	}
	c = c.DeepCopy()
	c.Status.ObservedGeneration = c.Generation
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a rotation that has ended", "rotation", c.Name, "error", err)
	}
}
