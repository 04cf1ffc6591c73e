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
		return Ended(&c) || c.DeletionTimestamp != nil || r.Now().Before(r.unwritten[c.UID])
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
	if err := r.Reader.Get(ctx, keyOf(&open[0]), &latest); err != nil || Ended(&latest) {
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
		case c.Status.State == v1alpha1.StateRunning, c.Status.State == v1alpha1.StateInterrupted:
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
	if c.Status.State == v1alpha1.StatePending && c.Status.Message == why {
		return
	}
	if c.Status.State != "" && c.Status.State != v1alpha1.StatePending {
		return
	}
	c = c.DeepCopy()
	become(c, v1alpha1.StatePending, why, r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status of a rotation that waits", "rotation", c.Name, "error", err)
	}
}
