package controller

import (
	"context"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/retry"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// writeEvery bounds how often progress is written to the API: a thousand nodes pass
// through six phases each.
const writeEvery = time.Second

// writeTimeout bounds one try to write progress. The API server may be the very thing
// that restarts; the rotation does not wait for it.
const writeTimeout = 5 * time.Second

// progress keeps the status of a rotation that runs, behind its back.
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
	go p.write(ctx)
	return p
}

// on is told by the engine, from several goroutines, one at a time.
func (p *progress) on(line fleet.Progress) {
	p.begun()
	p.runner.pulse.beat(p.runner.Now())
	p.mu.Lock()
	told(&p.object.Status, line, p.runner.Now())
	p.dirty = true
	p.mu.Unlock()
	p.runner.Log.Info(line.Text, "rotation", p.about.Name, "node", line.Node, "phase", line.Phase)
	if line.Phase == fleet.PhaseVerified && line.Done && line.Node != "" {
		p.runner.nodeVerified(p.about, line)
	}
}

// begun tells once that the rotation has begun: not before it has the cluster's lock,
// which it may have to wait for.
func (p *progress) begun() {
	p.once.Do(func() { p.runner.started(p.about) })
}

func (p *progress) write(ctx context.Context) {
	defer close(p.ended)
	tick := time.NewTicker(writeEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		p.mu.Lock()
		if !p.dirty {
			p.mu.Unlock()
			continue
		}
		p.dirty = false
		snapshot := p.object.DeepCopy()
		p.mu.Unlock()
		trying, cancel := context.WithTimeout(ctx, writeTimeout)
		err := p.runner.Client.Status().Update(trying, snapshot)
		if apierrors.IsConflict(err) { // somebody has changed a label, say
			err = p.runner.overwrite(trying, snapshot)
		}
		cancel()
		p.mu.Lock()
		switch {
		case err == nil:
			p.object.ResourceVersion = snapshot.ResourceVersion
		case apierrors.IsNotFound(err): // it was deleted, and ends with nobody to read of it
		default:
			p.dirty = true // the next tick tries again
		}
		p.mu.Unlock()
	}
}

// stop ends the writing; the object is the caller's again.
func (p *progress) stop() {
	p.cancel()
	<-p.ended
}

// writeRefused is how long a status is tried that the API server refuses, and how long its
// rotation is left alone then: an old definition of the kind or a missing right is put in
// order by people, and other rotations must not wait for that.
const writeRefused = 5 * time.Minute

// write writes a status that must not be lost. It tries until ctx ends, and for a moment
// after that: a rotation that was interrupted has to say so. What is lost all the same, or is
// refused for good, is found again in the nodes' journals.
func (r *Runner) write(ctx context.Context, c *v1alpha1.CertificateRotation) {
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTimeout)
	defer cancel()
	var refusedSince time.Time
	for {
		err := r.overwrite(ctx, c)
		if err != nil && ctx.Err() != nil {
			err = r.overwrite(last, c)
			if err == nil || last.Err() != nil {
				return
			}
		}
		if err == nil {
			return
		}
		if tooMuch(err) {
			shorten(&c.Status)
		}
		if now := r.Now(); refusedForGood(err) {
			if refusedSince.IsZero() {
				refusedSince = now
			}
			if now.Sub(refusedSince) >= writeRefused {
				r.unwritten[c.UID] = now.Add(writeRefused)
				r.Log.Error("status not written, going on with other rotations", "rotation", c.Name, "state", c.State(), "error", err)
				return
			}
		} else {
			refusedSince = time.Time{}
		}
		r.Log.Warn("write status, trying again", "rotation", c.Name, "error", err)
		timer := time.NewTimer(writeEvery)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// overwrite writes the status over whatever is there: nobody else writes it. An object
// that was deleted has no status to keep, and another of its name has its own.
func (r *Runner) overwrite(ctx context.Context, c *v1alpha1.CertificateRotation) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		trying, cancel := context.WithTimeout(ctx, writeTimeout)
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

func (r *Runner) started(c *v1alpha1.CertificateRotation) {
	reason := ""
	if c.Spec.Trigger != nil {
		reason = c.Spec.Trigger.Reason
	}
	_, _ = r.Events.Tell(event.RotationStarted{Rotation: rotationOf(c), Services: c.Spec.Services, Nodes: c.Spec.Nodes, Reason: reason})
	note(r.Recorder, c, normal, "Started", "rotation "+c.Status.RotationID+" has begun")
}

func (r *Runner) nodeVerified(c *v1alpha1.CertificateRotation, line fleet.Progress) {
	_, _ = r.Events.Tell(event.RotationNodeVerified{Rotation: rotationOf(c), Node: line.Node, Message: line.Text})
	note(r.Recorder, c, normal, "NodeVerified", line.Node+": "+line.Text)
	noteNode(r.Recorder, line.Node, normal, "CertificatesRotated", line.Text)
}

// outcome is the event of a rotation's end.
func outcome(c *v1alpha1.CertificateRotation) (data event.Data, node string) {
	o := event.Outcome{Rotation: rotationOf(c), Result: string(c.State()), Message: c.Message()}
	for _, n := range c.Status.Nodes {
		if wentWrong(n) {
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

// ended tells of a rotation's end.
func (r *Runner) ended(c *v1alpha1.CertificateRotation) {
	data, node := outcome(c)
	_, _ = r.Events.Tell(data)
	kind := warning
	if c.State() == v1alpha1.StateSucceeded {
		kind = normal
	}
	note(r.Recorder, c, kind, string(c.State()), c.Message())
	if kind == warning && node != "" {
		noteNode(r.Recorder, node, warning, "CertificateRotation"+string(c.State()), c.Message())
	}
}

// tellAgainFor is how long after its end a rotation's is told again by a watcher that
// starts.
const tellAgainFor = time.Hour

// tellAgain tells the ends that a predecessor may have written down and not come to tell.
// NATS drops those that it has.
func (r *Runner) tellAgain(ctx context.Context) {
	var list v1alpha1.CertificateRotationList
	if err := r.Client.List(ctx, &list); err != nil {
		r.Log.Warn("list rotations", "error", err)
		return
	}
	for i := range list.Items {
		c := &list.Items[i]
		if end := c.Status.CompletionTime; Ended(c) && c.State() != v1alpha1.StateCanceled && end != nil && r.Now().Sub(end.Time) < tellAgainFor {
			data, _ := outcome(c)
			_, _ = r.Events.Tell(data)
		}
	}
}
