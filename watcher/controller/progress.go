package controller

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// progress writes the status of a rotation in progress asynchronously.
type progress struct {
	runner *Runner
	mu     sync.Mutex
	object *v1alpha1.CertificateRotation
	about  *v1alpha1.CertificateRotation // the same as it was at the start, for events
	once   sync.Once
	dirty  bool
	cancel context.CancelFunc
	ended  chan struct{}
}

func newProgress(ctx context.Context, r *Runner, c *v1alpha1.CertificateRotation) *progress {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &progress{runner: r, object: c, about: c.DeepCopy(), cancel: cancel, ended: make(chan struct{})}
	go p.writeLoop(ctx)
	return p
}

// onProgress receives the progress of the engine. Several goroutines call it, one at a time.
func (p *progress) onProgress(line fleet.Progress) {
	p.publishStart()
	p.runner.pulse.recordBeat(p.runner.Now())
	p.mu.Lock()
	recordPhase(&p.object.Status, line, p.runner.Now())
	p.dirty = true
	p.mu.Unlock()
	p.runner.Log.Info("progress", "rotation", p.about.Name, "node", line.Node, "phase", line.Phase, "message", line.Text)
	if line.Phase == fleet.PhaseVerified && line.Done && line.Node != "" {
		p.runner.publishNodeVerified(p.about, line)
	}
}

// publishStart publishes once that the rotation has started. The rotation may have waited for
// the lock before.
func (p *progress) publishStart() {
	p.once.Do(func() { p.runner.publishStarted(p.about) })
}

func (p *progress) writeLoop(ctx context.Context) {
	defer close(p.ended)
	for wait.SleepFor(ctx, wait.RequestEvery) == nil { // each of a thousand nodes passes through six phases
		p.mu.Lock()
		if !p.dirty {
			p.mu.Unlock()
			continue
		}
		p.dirty = false
		snapshot := p.object.DeepCopy()
		p.mu.Unlock()
		trying, cancel := context.WithTimeout(ctx, wait.AttemptTimeout)
		err := p.runner.Client.Status().Update(trying, snapshot)
		if apierrors.IsConflict(err) { // a label was changed, for example
			err = p.runner.overwriteStatus(trying, snapshot)
		}
		cancel()
		p.mu.Lock()
		switch {
		case err == nil:
			p.object.ResourceVersion = snapshot.ResourceVersion
		case apierrors.IsNotFound(err): // it was deleted
		default:
			p.dirty = true // tried again at the next tick
		}
		p.mu.Unlock()
	}
}

// stopWriting ends the writing. The caller may then change the object.
func (p *progress) stopWriting() {
	p.cancel()
	<-p.ended
}

// refusedPause is for how long a status that the API server refuses is written again, and how
// long its rotation is then not tried: an operator must update the definition or grant a
// right, and other rotations must not wait for that.
const refusedPause = 5 * time.Minute

// writeStatus writes a status that must not be lost. It tries until ctx ends, and once more
// after that: an interrupted rotation needs its state. If the status is lost, or refused
// permanently, the next watcher reads the journals of the nodes.
func (r *Runner) writeStatus(ctx context.Context, c *v1alpha1.CertificateRotation) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), wait.AttemptTimeout)
	defer cancel()
	var refusedSince time.Time
	for {
		err := r.overwriteStatus(ctx, c)
		if err != nil && ctx.Err() != nil {
			err = r.overwriteStatus(last, c)
			if err == nil || last.Err() != nil {
				return
			}
		}
		if err == nil {
			return
		}
		if objectTooLarge(err) {
			shortenStatus(&c.Status)
		}
		if now := r.Now(); permanentlyRefused(err) {
			if refusedSince.IsZero() {
				refusedSince = now
			}
			if now.Sub(refusedSince) >= refusedPause {
				r.unwritableUntil[c.UID] = now.Add(refusedPause)
				r.Log.Error("status not written, continuing with other rotations", "rotation", c.Name, "state", c.State(), "error", err)
				return
			}
		} else {
			refusedSince = time.Time{}
		}
		r.Log.Warn("write status, trying again", "rotation", c.Name, "error", err)
		_ = wait.SleepFor(ctx, wait.RequestEvery) // it is written once more where ctx has ended
	}
}

// overwriteStatus writes the status regardless of the version of the object, since only the
// watcher writes it. The status of a deleted object is dropped, and a new object of the same
// name keeps its own.
func (r *Runner) overwriteStatus(ctx context.Context, c *v1alpha1.CertificateRotation) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		trying, cancel := context.WithTimeout(ctx, wait.AttemptTimeout)
		defer cancel()
		var latest v1alpha1.CertificateRotation
		if err := r.Reader.Get(trying, keyOf(c), &latest); err != nil {
			return err
		}
		if latest.UID != c.UID {
			return nil
		}
		latest.Status = c.Status
		err := r.Client.Status().Update(trying, &latest)
		if err == nil {
			c.ResourceVersion = latest.ResourceVersion
		}
		return err
	})
	return ignoreNotFound(err)
}

func (r *Runner) publishStarted(c *v1alpha1.CertificateRotation) {
	reason := ""
	if c.Spec.Trigger != nil {
		reason = c.Spec.Trigger.Reason
	}
	_, _ = r.Events.Publish(event.RotationStarted{Rotation: rotationOf(c), Services: c.Spec.Services, Nodes: c.Spec.Nodes, Reason: reason})
	recordEvent(r.Recorder, c, normal, "Started", "rotation "+c.Status.RotationID+" has started")
}

func (r *Runner) publishNodeVerified(c *v1alpha1.CertificateRotation, line fleet.Progress) {
	_, _ = r.Events.Publish(event.RotationNodeVerified{Rotation: rotationOf(c), Node: line.Node, Message: line.Text})
	recordEvent(r.Recorder, c, normal, "NodeVerified", line.Node+": "+line.Text)
	recordNodeEvent(r.Recorder, line.Node, normal, "CertificatesRotated", line.Text)
}

// outcomeEvent is the event of the end of a rotation.
func outcomeEvent(c *v1alpha1.CertificateRotation) (data event.Data, node string) {
	o := event.Outcome{Rotation: rotationOf(c), Result: string(c.State()), Message: c.Message()}
	for _, n := range c.Status.Nodes {
		if failedOn(n) {
			o.Node = n.Node
		}
	}
	switch c.State() {
	case v1alpha1.StateSucceeded:
		return event.RotationSucceeded{Outcome: o}, o.Node
	case v1alpha1.StateRolledBack:
		return event.RotationRolledBack{Outcome: o}, o.Node
	default:
		return event.RotationFailed{Outcome: o}, o.Node
	}
}

// publishEnded publishes the end of a rotation.
func (r *Runner) publishEnded(c *v1alpha1.CertificateRotation) {
	data, node := outcomeEvent(c)
	_, _ = r.Events.Publish(data)
	kind := warning
	if c.State() == v1alpha1.StateSucceeded {
		kind = normal
	}
	recordEvent(r.Recorder, c, kind, string(c.State()), c.Message())
	if kind == warning && node != "" {
		recordNodeEvent(r.Recorder, node, warning, "CertificateRotation"+string(c.State()), c.Message())
	}
}

// republishEnds publishes ends of rotations of the last hour, which the previous leader may have written into a
// status and not published. NATS drops duplicates.
func (r *Runner) republishEnds(ctx context.Context) {
	var list v1alpha1.CertificateRotationList
	if err := r.Client.List(ctx, &list); err != nil {
		r.Log.Warn("list rotations", "error", err)
		return
	}
	for i := range list.Items {
		c := &list.Items[i]
		if end := c.Status.CompletionTime; c.HasEnded() && c.State() != v1alpha1.StateCanceled && end != nil && r.Now().Sub(end.Time) < time.Hour {
			data, _ := outcomeEvent(c)
			_, _ = r.Events.Publish(data)
		}
	}
}
