package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"golang.org/x/sync/errgroup"
)

// stage has the keys and certificates of some steps made and signed, at the same
// time. Nothing visible changes, so it may be left at any moment.
func (r *run) stage(ctx context.Context, steps []plan.Step) error {
	if len(steps) == 0 {
		return nil
	}
	began := r.Now()
	g, staging := errgroup.WithContext(ctx)
	for _, s := range steps {
		g.Go(func() error { return r.stageNode(staging, r.workers[s.Node]) })
	}
	if err := g.Wait(); err != nil {
		if stop := interrupted(ctx); stop != nil {
			return r.interrupted(stop)
		}
		return err
	}
	for _, s := range steps {
		r.say(Progress{Node: s.Node, Phase: PhaseStaged, Text: "staged"})
	}
	r.say(Progress{Phase: PhaseStaged, Done: true, Took: r.Now().Sub(began),
		Text: fmt.Sprintf("%s: %s, nothing changed yet", join(names(steps)), prepared(steps))})
	return nil
}

func (r *run) stageNode(ctx context.Context, w *worker) error {
	answer, err := r.sign(ctx, w)
	return r.staged(w, answer, err)
}

// staged is the error of a staging with that answer; nil: it succeeded.
func (r *run) staged(w *worker, answer nodeapi.Record, err error) error {
	switch {
	case err != nil:
		return r.failed(w.step.Node, v1alpha1.Failed, w.step.Node+": its certificates could not be made; nothing was changed there", err.Error(), "")
	case answer.Kind != nodeapi.Staged:
		return r.failed(w.step.Node, v1alpha1.Failed, w.step.Node+": its certificates could not be made; nothing was changed there", answer.Message, answer.Hint)
	}
	return nil
}

// sign has a node make its new keys, and their certificates signed; the result is the
// node's answer.
func (r *run) sign(ctx context.Context, w *worker) (nodeapi.Record, error) {
	r.say(Progress{Node: w.step.Node, Phase: PhaseStaging, Text: staging(w.step)})
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	// CSRs are looked after while the journal is followed: an approval may take longer
	// than the node takes to ask for the next one.
	signing, signed := errgroup.WithContext(ctx)
	order := r.order(nodeapi.OrderStage, w)
	order.Step = &w.step
	answer, err := w.carryOut(signed, order, func(rec nodeapi.Record) error {
		switch rec.Kind {
		case nodeapi.CSRPosted:
			signing.Go(func() error { return r.cluster.Signers.Approve(signed, w.step.Node, *rec.CSR) })
		case nodeapi.CSRNeeded:
			signing.Go(func() error { return r.issue(signed, w, *rec.CSR) })
		}
		return nil
	}, r.lostSight(w))
	// Where a signature failed, that is the cause of everything else.
	if signErr := signing.Wait(); signErr != nil {
		err = signErr
	}
	return answer, err
}

// issue has a request signed in the administrator's name and hands the certificate, or
// why there is none, to the node.
func (r *run) issue(ctx context.Context, w *worker, csr nodeapi.CSR) error {
	order := r.order(nodeapi.OrderIssued, w)
	order.Issued = &nodeapi.Issued{TargetID: csr.TargetID}
	pem, err := r.cluster.Signers.Issue(ctx, w.step.Node, csr)
	if err != nil {
		order.Issued.Error = err.Error()
	}
	order.Issued.PEM = string(pem)
	return w.session.Order(ctx, order)
}

// commit replaces, restarts and verifies on one node. It does not end with ctx: a node that
// began is followed until it is all new or all old.
func (r *run) commit(ctx context.Context, node string) error {
	w, began := r.workers[node], r.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.limit+2*r.Timeout)
	defer cancel()
	if w.step.ControlPlane {
		r.asked = time.Time{}
	}
	r.say(Progress{Node: node, Phase: PhaseWorking, Text: replacing(w.step)})
	answer, err := w.carryOut(ctx, r.order(nodeapi.OrderCommit, w), func(rec nodeapi.Record) error {
		r.sayRecord(rec)
		return nil
	}, r.lostSight(w))
	if err != nil {
		if answer, err = r.lookAgain(ctx, w, err); err != nil {
			return r.inDoubt(node, err)
		}
	}
	switch {
	case answer.Kind == nodeapi.RolledBack && !answer.Unverified:
		return r.failed(node, v1alpha1.RolledBack, node+": "+w.cause(), answer.Message, answer.Hint)
	case answer.Kind == nodeapi.Unknown:
		return r.failed(node, v1alpha1.Failed, node+": "+w.cause(), answer.Message, answer.Hint)
	case answer.Unverified: // neither the old nor the new certificates were seen in use
		return r.failed(node, v1alpha1.Failed, node+": "+w.cause(), answer.Message, answer.Hint)
	case answer.Kind != nodeapi.Committed:
		return r.failed(node, v1alpha1.Failed, node+": nothing was changed there", answer.Message, answer.Hint)
	}
	r.ended(node, v1alpha1.Succeeded, "")
	return r.verifyFromOutside(ctx, w, began)
}

// verifyFromOutside looks at the node with the cluster's eyes, before the next is touched.
func (r *run) verifyFromOutside(ctx context.Context, w *worker, began time.Time) error {
	node := w.step.Node
	var looking errgroup.Group // what fails first is told, but nothing is left half looked at
	if restarts(w.step, certs.Kubelet) {
		r.say(Progress{Node: node, Phase: PhaseWorking, Text: "waiting for the kubelet to report to the API server"})
		looking.Go(func() error { return r.awaitKubelet(ctx, w, began) })
	}
	if w.step.ControlPlane {
		looking.Go(func() error {
			if _, err := r.gate(ctx, nil, r.Timeout, r.forcedSince); err != nil {
				return r.stopped(node+": verified on the node, but the cluster did not become healthy again", err)
			}
			return nil
		})
	}
	if err := looking.Wait(); err != nil {
		return err
	}
	r.say(Progress{Node: node, Phase: PhaseVerified, Done: true, Took: r.Now().Sub(began), Text: r.summary(w)})
	return nil
}

// awaitKubelet waits until a node's restarted kubelet has reported to the API server.
func (r *run) awaitKubelet(ctx context.Context, w *worker, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout+time.Minute)
	defer cancel()
	// A kubelet renews its lease as soon as it starts, so the moment of that is
	// what to compare with: one a second later would wait for the next renewal.
	restarted := began
	for _, rec := range w.of(nodeapi.Restarted) {
		if rec.Service == certs.Kubelet && rec.StartedAt != nil {
			restarted = *rec.StartedAt
		}
	}
	if err := r.cluster.Observer.Ready(ctx, w.step.Node, restarted); err != nil {
		return r.stopped(w.step.Node+": verified on the node, but it did not become Ready", err)
	}
	return nil
}

// finish records on a node of the last wave that the whole rotation has succeeded, so
// that it is not taken for an unfinished one.
func (r *run) finish(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if len(r.workers) == 0 && r.Unfinished != nil {
		// Everything had been done by the run that was cut off.
		if err := r.openOneDone(ctx); err != nil {
			r.note("the end of rotation %s could not be recorded (%v); the same command within a day finds nothing left to do", r.ID, err)
			return nil
		}
	}
	var g errgroup.Group
	for _, w := range r.workers {
		g.Go(func() error {
			_, err := w.carryOut(ctx, r.order(nodeapi.OrderFinish, w), func(nodeapi.Record) error { return nil }, nil)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		r.note("the end of the rotation could not be recorded everywhere: %v", err)
	}
	r.forget()
	return nil
}

func (r *run) openOneDone(ctx context.Context) error {
	for _, s := range r.Plan.Steps() {
		// To open one that was interrupted in another rotation is to change it.
		if r.Unfinished.Committed[s.Node] && !r.halfDone(s.Node) {
			return r.openSteps(ctx, []plan.Step{s})
		}
	}
	return nil
}

// release lets the processes at hand end without the rotation being finished, and
// returns a function that waits until they have: a pod whose process has come to its end
// need not be given time to. That it may fail is no harm:
// removing the pods ends them too.
func (r *run) release(ctx context.Context) (wait func()) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	var telling errgroup.Group
	for _, w := range r.workers {
		telling.Go(func() error {
			_, err := w.carryOut(ctx, r.order(nodeapi.OrderAbandon, w), func(nodeapi.Record) error { return nil }, nil)
			return err
		})
	}
	r.forget()
	return func() {
		_ = telling.Wait() // see above
		cancel()
	}
}

// forget lets go of the processes at hand.
func (r *run) forget() {
	r.Lock()
	defer r.Unlock()
	for node := range r.workers {
		delete(r.open, node)
	}
	r.workers = map[string]*worker{}
}

func (r *run) order(kind nodeapi.OrderKind, w *worker) nodeapi.Order {
	return nodeapi.Order{
		Kind: kind, ID: rand.Text(), Rotation: r.ID, Token: w.token, Scope: r.scope, StartTime: r.startTime, Restart: r.Request.Restart,
		ValiditySeconds: int64(r.Request.Validity / time.Second), TimeoutSeconds: int64(r.Timeout / time.Second),
		Compromised: r.Request.Compromised,
	}
}
