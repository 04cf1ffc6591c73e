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
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Publisher publishes events. It does not block: an event that cannot be published now is
// kept. A lost event is published again by the part that derives it from the objects. Publish
// returns the id of the event; an error means that the event was dropped.
type Publisher interface {
	Publish(data event.Data) (id string, err error)
}

// Runner runs CertificateRotations, one at a time: those in progress first, then those of
// compromised keys, then the oldest.
type Runner struct {
	Client   client.Client
	Reader   client.Reader // past the cache
	Engine   Engine
	Events   Publisher
	Recorder events.EventRecorder
	Log      *slog.Logger
	Now      func() time.Time
	// Finished receives the result and duration of each rotation; may be nil.
	Finished func(v1alpha1.RotationState, time.Duration)
	// NotifyOnly means that no rotation is run: the watcher has no right to.
	NotifyOnly bool
	// MayStart returns why a rotation must not start now, see [Decider.MayStart]; nil: every
	// rotation may.
	MayStart func(ctx context.Context, c *v1alpha1.CertificateRotation) (why string, err error)

	wake chan struct{}
	// Only the loop of Start uses these. retryName is the rotation that is tried again at
	// retryAt, and failingSince is since when it cannot be prepared; zero: it can.
	retryName    string
	retryAt      time.Time
	failingSince time.Time
	// unwritableUntil are the rotations whose status the API server refuses permanently, and
	// until when they are not tried again.
	unwritableUntil map[types.UID]time.Time
	pulse           pulse

	mu         sync.Mutex
	current    types.UID // of the rotation in progress; empty: none
	cancel     context.CancelFunc
	stopReason error // why it was stopped; nil: it was not
}

// retryAfter is how long to wait if another rotation holds the cluster's lock, or the cluster
// could not be scanned.
const retryAfter = 10 * time.Second

// TriggerRun makes the runner check for rotations now. It never blocks.
func (r *Runner) TriggerRun() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// NewRunner completes a runner.
func NewRunner(r *Runner) *Runner {
	r.wake = make(chan struct{}, 1)
	r.unwritableUntil = map[types.UID]time.Time{}
	if r.Now == nil {
		r.Now = time.Now
	}
	return r
}

// Start runs rotations until ctx ends. The current node of a rotation in progress is then
// finished or rolled back.
func (r *Runner) Start(ctx context.Context) error {
	r.republishEnds(ctx)
	for {
		if wait.SleepOrWake(ctx, r.runNext(ctx), r.wake) != nil {
			return nil
		}
	}
}

// CheckAlive returns an error if the runner no longer runs rotations.
func (r *Runner) CheckAlive() error { return r.pulse.checkAlive("running rotations", r.Now()) }

// NeedLeaderElection keeps a second watcher from running the same rotation.
func (r *Runner) NeedLeaderElection() bool { return true }

// runRotation runs one rotation as far as possible, and returns after how long to check again.
func (r *Runner) runRotation(ctx context.Context, c *v1alpha1.CertificateRotation) time.Duration {
	began := r.Now()
	log := r.Log.With("rotation", c.Name)
	log.Info("scanning the nodes")
	ready, err := r.prepareRotation(ctx, c)
	var held *kube.HeldError
	switch {
	case ctx.Err() != nil:
		return 0
	case errors.As(err, &held):
		r.failingSince = time.Time{} // the cluster was scanned
		return r.waitForHolder(ctx, c, held)
	case errors.Is(err, plan.ErrNothing), errors.Is(err, fleet.ErrSelector), recordRefusal(c, err, began):
		r.finishRotation(ctx, c, refusedUnlessBegun(c, v1alpha1.StateFailed), hint.TextOf(err), nil, began)
		return 0
	case err != nil:
		log.Error("prepare rotation", "error", err)
		if r.failingSince.IsZero() {
			r.failingSince = began
		}
		// An API server that restarts is unavailable for much less.
		if r.Now().Sub(r.failingSince) > 5*time.Minute {
			r.finishRotation(ctx, c, refusedUnlessBegun(c, v1alpha1.StateFailed), hint.TextOf(err), nil, began)
			return 0
		}
		r.setPending(ctx, c, "could not scan the cluster: "+hint.TextOf(err))
		return retryAfter
	}
	r.failingSince = time.Time{}
	if why := nothingToDo(c, ready); why != "" {
		r.finishRotation(ctx, c, v1alpha1.StateSucceeded, why, nil, began)
		return 0
	}
	// A rotation that was started is finished or rolled back, even if the policy has changed.
	if begun := c.Status.RotationID != ""; !begun && r.MayStart != nil {
		why, err := r.MayStart(ctx, c)
		if err != nil {
			log.Error("check whether the rotation may start", "error", err)
			return retryAfter
		}
		if why != "" {
			r.finishRotation(ctx, c, v1alpha1.StateCanceled, "not started: "+why+"; it is requested again once the policy allows it", nil, began)
			return 0
		}
	}
	return r.executeRotation(ctx, c, ready, began)
}

// prepareRotation scans the nodes and makes the plan. A rotation that was started before keeps
// its id.
func (r *Runner) prepareRotation(ctx context.Context, c *v1alpha1.CertificateRotation) (fleet.Rotation, error) {
	req, err := engineRequest(c.Spec)
	if err != nil {
		return fleet.Rotation{}, err
	}
	if c.Status.RotationID != "" && len(c.Status.SelectedNodes) > 0 {
		req.Nodes = c.Status.SelectedNodes
		req.NodeSelector = ""
	}
	ready, err := r.Engine.Prepare(ctx, req, c.Status.RotationID)
	if err == nil && ready.Unfinished == nil && c.Status.RotationID != "" {
		ready.ID = c.Status.RotationID // it was started, but no node has a journal of it yet
	}
	return ready, err
}

// executeRotation carries out the plan. The status with the id is written first, so that the
// next watcher can continue after a crash.
func (r *Runner) executeRotation(ctx context.Context, c *v1alpha1.CertificateRotation, ready fleet.Rotation, began time.Time) time.Duration {
	before := c.Status.RotationID
	start := c.Status.StartTime
	running, done := r.withCancel(ctx, c.UID)
	defer done()
	c.Status.RotationID = ready.ID
	if c.Spec.NodeSelector != nil {
		c.Status.SelectedNodes = ready.Request.Nodes
	}
	skipped := recordSkipped(c, ready, r.Now())
	setState(c, v1alpha1.StateRunning, "in progress", r.Now())
	if err := r.Client.Status().Update(ctx, c); err != nil {
		r.Log.Warn("write status before the start", "rotation", c.Name, "error", err)
		if permanentlyRefused(err) {
			r.unwritableUntil[c.UID] = r.Now().Add(refusedPause)
		}
		return retryAfter
	}
	progress := newProgress(ctx, r, c)
	progress.about.Spec.Nodes = ready.Request.Nodes // also those that a selector matched
	options := fleet.Options{Rotation: ready, Progress: progress.onProgress, Now: r.Now}
	if c.Spec.Timeout != nil {
		options.Timeout = c.Spec.Timeout.Duration
	}
	if c.Spec.Pause != nil {
		options.Pause = c.Spec.Pause.Duration
	}
	report, err := r.Engine.Rotate(running, options)
	stopped := r.stoppedBy()
	progress.stopWriting()
	var held *kube.HeldError
	if errors.As(err, &held) {
		// Nothing was started, so MayStart is checked again.
		c.Status.RotationID = before
		c.Status.StartTime = start
		return r.waitForHolder(ctx, c, held)
	}
	progress.publishStart()
	message := "done and verified"
	if len(skipped) > 0 {
		message = "done and verified, except for nodes that could not be rotated: " + printers.SomeNames(skipped)
	}
	if len(ready.Plan.LeftOut) > 0 {
		message += "; " + leftOutWords(printers.LeftOutItems(ready.Plan.LeftOut))
	}
	if err != nil {
		message = hint.TextOf(err)
	}
	if report != nil {
		report.Notes = append(append(report.Notes, ready.Notes...), residualNotes(c, ready.Scanned, report)...)
	}
	state := stateOf(report, err)
	if state == v1alpha1.StateRefused && before != "" {
		state = v1alpha1.StateFailed // it has changed nodes before it was interrupted
	}
	switch {
	case state != v1alpha1.StateInterrupted:
	case errors.Is(stopped, errDeleted):
		state = v1alpha1.StateCanceled
		message = errDeleted.Error() + " while it was in progress: " + message
	case errors.Is(stopped, errSuspended):
		state = v1alpha1.StateSuspended
		message = "suspended; it continues once spec.suspend is false: " + message
		if before == "" && noNodeTouched(report) { // nothing was started, so MayStart is checked again
			c.Status.RotationID = before
			c.Status.StartTime = start
		}
	}
	r.finishRotation(ctx, c, state, message, report, began)
	return 0
}

// waitForHolder writes into the status which rotation holds the lock, and returns how long to
// wait.
func (r *Runner) waitForHolder(ctx context.Context, c *v1alpha1.CertificateRotation, held *kube.HeldError) time.Duration {
	setState(c, v1alpha1.StatePending, held.Error(), r.Now())
	r.writeStatus(ctx, c)
	return retryAfter
}

// finishRotation writes the end of a rotation into its status, and publishes it.
func (r *Runner) finishRotation(ctx context.Context, c *v1alpha1.CertificateRotation, state v1alpha1.RotationState, message string, report *v1alpha1.RotationReport, began time.Time) {
	if report != nil {
		c.Status.Notes = report.Notes
		setLeftOut(c, report.LeftOut, r.Now())
	}
	setState(c, state, message, r.Now())
	r.writeStatus(ctx, c)
	switch {
	case state == v1alpha1.StateInterrupted:
		return
	case state == v1alpha1.StateSuspended, state == v1alpha1.StateCanceled && report == nil:
		recordEvent(r.Recorder, c, normal, string(state), message)
		return
	}
	r.publishEnded(c)
	if r.Finished != nil {
		r.Finished(state, r.Now().Sub(began))
	}
}
