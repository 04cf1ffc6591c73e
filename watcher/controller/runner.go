package controller

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Teller publishes events. It does not block: what it cannot publish now it keeps, and
// what it loses is told again by whoever derives it from the objects. It returns the
// event's id; an error means that it was not taken.
type Teller interface {
	Tell(data event.Data) (id string, err error)
}

// Runner runs CertificateRotations, one at a time, oldest first; what is compromised
// goes first, and what was begun before that.
type Runner struct {
	Client   client.Client
	Reader   client.Reader // past the cache
	Engine   Engine
	Events   Teller
	Recorder events.EventRecorder
	Log      *slog.Logger
	Now      func() time.Time
	// Finished is called with the result and the duration of each rotation; may be nil.
	Finished func(v1alpha1.RotationState, time.Duration)
	// NotifyOnly runs none: the watcher has no right to.
	NotifyOnly bool
	// MayStart says why a rotation must not begin now, see [Decider.MayStart]; nil: any may.
	MayStart func(ctx context.Context, c *v1alpha1.CertificateRotation) (why string, err error)

	wake chan struct{}
	// What only the loop touches: the rotation that is tried again later, and since when it
	// could not be prepared (zero: it could).
	later  string
	until  time.Time
	failed time.Time
	// unwritten are the rotations whose status the API refuses for good, and until when they
	// are left alone.
	unwritten map[types.UID]time.Time
	pulse     pulse

	mu      sync.Mutex
	current types.UID // of the rotation that runs; empty: none
	cancel  context.CancelFunc
	why     error // it was stopped; nil: it was not
}

// retryAfter is how long to wait where another rotation holds the cluster's lock, or the
// cluster could not be looked at.
const retryAfter = 10 * time.Second

// giveUpAfter is for how long the cluster may fail to be looked at before a rotation
// fails: an API server that restarts is away for much less.
const giveUpAfter = 5 * time.Minute

// Kick makes the runner look for work now. It never blocks.
func (r *Runner) Kick() {
	select {
	case r.woken() <- struct{}{}:
	default:
	}
}

// NewRunner completes a runner.
func NewRunner(r *Runner) *Runner {
	r.wake, r.unwritten = make(chan struct{}, 1), map[types.UID]time.Time{}
	if r.Now == nil {
		r.Now = time.Now
	}
	return r
}

func (r *Runner) woken() chan struct{} { return r.wake }

// Start runs until ctx ends. A rotation at work then ends in an orderly way: its node
// finishes or undoes its part.
func (r *Runner) Start(ctx context.Context) error {
	r.tellAgain(ctx)
	for {
		again := r.next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		timer := time.NewTimer(again)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// Alive is an error where rotations are not run any more.
func (r *Runner) Alive() error { return r.pulse.alive("running rotations", r.Now()) }

// NeedLeaderElection keeps a second watcher from running the same.
func (r *Runner) NeedLeaderElection() bool { return true }

// run carries one rotation out, as far as it can be. It returns after how long to look
// again.
func (r *Runner) run(ctx context.Context, c *v1alpha1.CertificateRotation) time.Duration {
	began := r.Now()
	log := r.Log.With("rotation", c.Name)
	log.Info("looking at the nodes")
	ready, err := r.prepare(ctx, c)
	var held *kube.HeldError
	switch {
	case ctx.Err() != nil:
		return 0
	case errors.As(err, &held):
		r.failed = time.Time{} // the cluster could be asked
		return r.wait(ctx, c, held)
	case errors.Is(err, plan.ErrNothing), errors.Is(err, fleet.ErrSelector), refused(c, err, began):
		r.end(ctx, c, refusedOr(c, v1alpha1.StateFailed), err.Error(), nil, began)
		return 0
	case err != nil:
		log.Error("could not be prepared", "error", err)
		if r.failed.IsZero() {
			r.failed = began
		}
		if r.Now().Sub(r.failed) > giveUpAfter {
			r.end(ctx, c, refusedOr(c, v1alpha1.StateFailed), err.Error(), nil, began)
			return 0
		}
		r.accept(ctx, c, "could not look at the cluster: "+err.Error())
		return retryAfter
	}
	r.failed = time.Time{}
	if why := done(c, ready); why != "" {
		r.end(ctx, c, v1alpha1.StateSucceeded, why, nil, began)
		return 0
	}
	// What was begun is finished or undone, whatever the policy says by now.
	if begun := c.Status.RotationID != ""; !begun && r.MayStart != nil {
		why, err := r.MayStart(ctx, c)
		if err != nil {
			log.Error("ask whether it may start", "error", err)
			return retryAfter
		}
		if why != "" {
			r.end(ctx, c, v1alpha1.StateCanceled, "not begun, and asked for anew once it may start: "+why, nil, began)
			return 0
		}
	}
	return r.rotate(ctx, c, ready, began)
}

// prepare makes the plan; the id of one that was begun before is kept.
func (r *Runner) prepare(ctx context.Context, c *v1alpha1.CertificateRotation) (fleet.Rotation, error) {
	req, err := request(c.Spec)
	if err != nil {
		return fleet.Rotation{}, err
	}
	if c.Status.RotationID != "" && len(c.Status.SelectedNodes) > 0 {
		req.Nodes, req.NodeSelector = c.Status.SelectedNodes, ""
	}
	ready, err := r.Engine.Prepare(ctx, req, c.Status.RotationID)
	if err == nil && ready.Unfinished == nil && c.Status.RotationID != "" {
		ready.ID = c.Status.RotationID // it was begun, but no node knew of it yet
	}
	return ready, err
}

func (r *Runner) rotate(ctx context.Context, c *v1alpha1.CertificateRotation, ready fleet.Rotation, began time.Time) time.Duration {
	// Written before anything is done, so that whoever comes after a crash knows the id.
	before, start := c.Status.RotationID, c.Status.StartTime
	running, done := r.cancelable(ctx, c.UID)
	defer done()
	c.Status.RotationID = ready.ID
	if c.Spec.NodeSelector != nil {
		c.Status.SelectedNodes = ready.Request.Nodes
	}
	skipped := skip(c, ready, r.Now())
	become(c, v1alpha1.StateRunning, "at work", r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status before the start", "rotation", c.Name, "error", err)
		if refusedForGood(err) {
			r.unwritten[c.UID] = r.Now().Add(writeRefused)
		}
		return retryAfter
	}
	progress := newProgress(ctx, r, c)
	progress.about.Spec.Nodes = ready.Request.Nodes // those that a selector means, too
	options := fleet.Options{Rotation: ready, Progress: progress.on, Now: r.Now}
	if c.Spec.Timeout != nil {
		options.Timeout = c.Spec.Timeout.Duration
	}
	if c.Spec.Pause != nil {
		options.Pause = c.Spec.Pause.Duration
	}
	report, err := r.Engine.Rotate(running, options)
	stopped := r.stoppedBy()
	progress.stop()
	var held *kube.HeldError
	if errors.As(err, &held) {
		// It has begun nothing, and is asked again whether it may.
		c.Status.RotationID, c.Status.StartTime = before, start
		return r.wait(ctx, c, held)
	}
	progress.begun()
	message := "done and verified"
	if len(skipped) > 0 {
		message = "done and verified, but for what could not be worked on: " + fleet.Some(skipped)
	}
	if len(ready.Plan.LeftOut) > 0 {
		message += "; " + leftOutWords(fleet.LeftOut(ready.Plan))
	}
	if err != nil {
		message = err.Error()
	}
	if report != nil {
		report.Notes = append(append(report.Notes, ready.Notes...), residual(c, ready.Scanned, report)...)
	}
	state := stateOf(report, err)
	if state == v1alpha1.StateRefused && before != "" {
		state = v1alpha1.StateFailed // what it did before it was interrupted stands
	}
	switch {
	case state != v1alpha1.StateInterrupted:
	case errors.Is(stopped, errDeleted):
		state, message = v1alpha1.StateCanceled, errDeleted.Error()+" while it ran: "+message
	case errors.Is(stopped, errSuspended):
		state, message = v1alpha1.StateSuspended, "it goes on where it stopped once spec.suspend is false: "+message
		if before == "" && untouched(report) { // it has begun nothing, and is asked again whether it may
			c.Status.RotationID, c.Status.StartTime = before, start
		}
	}
	r.end(ctx, c, state, message, report, began)
	return 0
}

// wait tells whom a rotation waits for, and returns for how long.
func (r *Runner) wait(ctx context.Context, c *v1alpha1.CertificateRotation, held *kube.HeldError) time.Duration {
	become(c, v1alpha1.StatePending, held.Error(), r.Now())
	r.write(ctx, c)
	return retryAfter
}

// end writes a rotation's end down, and tells.
func (r *Runner) end(ctx context.Context, c *v1alpha1.CertificateRotation, state v1alpha1.RotationState, message string, report *v1alpha1.RotationReport, began time.Time) {
	if report != nil {
		c.Status.Notes = report.Notes
		leaveOut(c, report.LeftOut, r.Now())
	}
	become(c, state, message, r.Now())
	r.write(ctx, c)
	switch {
	case state == v1alpha1.StateInterrupted:
		return
	case state == v1alpha1.StateSuspended, state == v1alpha1.StateCanceled && report == nil:
		note(r.Recorder, c, normal, string(state), message)
		return
	}
	r.ended(c)
	if r.Finished != nil {
		r.Finished(state, r.Now().Sub(began))
	}
}
