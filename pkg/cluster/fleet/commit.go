package fleet

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"golang.org/x/sync/errgroup"
)

// stageSteps has the keys and certificates of some steps made and signed, at the same
// time. Nothing visible changes, so it may be left at any moment.
func (r *run) stageSteps(ctx context.Context, steps []plan.Step) error {
	if len(steps) == 0 {
		return nil
	}
	began := r.Now()
	g, staging := errgroup.WithContext(ctx)
	for _, s := range steps {
		g.Go(func() error { return r.stageNode(staging, r.workers[s.Node]) })
	}
	if err := g.Wait(); err != nil {
		if stop := interruption(ctx); stop != nil {
			return r.interruptedError(stop)
		}
		return err
	}
	for _, s := range steps {
		r.showProgress(Progress{Node: s.Node, Phase: PhaseStaged, Text: "staged"})
	}
	r.showProgress(Progress{Phase: PhaseStaged, Done: true, Took: r.Now().Sub(began),
		Text: fmt.Sprintf("%s: %s, nothing changed yet", joinNodes(nodeNames(steps)), stagedText(steps))})
	return nil
}

func (r *run) stageNode(ctx context.Context, w *worker) error {
	answer, err := r.stageAndSign(ctx, w)
	return r.stagingError(w, answer, err)
}

// stagingError is the error of a staging with that answer; nil: it succeeded.
func (r *run) stagingError(w *worker, answer nodeapi.Record, err error) error {
	what := w.step.Node + ": its certificates could not be made; nothing was changed there"
	if w.step.RollbackOf != "" {
		what = w.step.Node + ": its earlier certificates cannot be put back; nothing was changed there"
	}
	if w.copyEtcd {
		what = w.step.Node + ": its recovery could not be prepared; nothing was changed there"
	}
	switch {
	case err != nil:
		return r.nodeFailed(w.step.Node, v1alpha1.Failed, what, hint.TextOf(err), "")
	case answer.Kind != nodeapi.Staged:
		return r.nodeFailed(w.step.Node, v1alpha1.Failed, what, answer.Message, answer.Hint)
	}
	return nil
}

// stageAndSign has a node make its new keys, and their certificates signed; the result is the
// node's answer.
func (r *run) stageAndSign(ctx context.Context, w *worker) (nodeapi.Record, error) {
	r.showProgress(Progress{Node: w.step.Node, Phase: PhaseStaging, Text: stagingText(w.step)})
	ctx, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	// CSRs are approved while the journal is followed: an approval may take longer
	// than the node takes to ask for the next one.
	signing, signed := errgroup.WithContext(ctx)
	order := r.newOrder(nodeapi.OrderStage, w)
	order.Step = &w.step
	answer, err := w.carryOut(signed, order, func(rec nodeapi.Record) error {
		switch rec.Kind {
		case nodeapi.CSRPosted:
			signing.Go(func() error { return r.cluster.Signers.Approve(signed, w.step.Node, *rec.CSR) })
		case nodeapi.CSRNeeded:
			signing.Go(func() error { return r.issueCertificate(signed, w, *rec.CSR) })
		}
		return nil
	}, r.reportLostContact(w))
	// Where a signature failed, that is the cause of everything else.
	if signErr := signing.Wait(); signErr != nil {
		err = signErr
	}
	return answer, err
}

// commitNode replaces, restarts and verifies on one node. It does not end with ctx: a node that
// began is followed until it is all new or all old.
func (r *run) commitNode(ctx context.Context, node string) error {
	w := r.workers[node]
	began := r.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.limit+2*r.Timeout)
	defer cancel()
	if w.step.ControlPlane {
		r.asked = time.Time{}
	}
	if err := r.commitOnNode(ctx, w); err != nil {
		return err
	}
	return r.verifyFromOutside(ctx, w, began)
}

// commitOnNode replaces, restarts and verifies on one node, as the node itself sees it.
func (r *run) commitOnNode(ctx context.Context, w *worker) error {
	node := w.step.Node
	r.showProgress(Progress{Node: node, Phase: PhaseWorking, Text: committingText(w.step)})
	order := r.newOrder(nodeapi.OrderCommit, w)
	answer, err := w.carryOut(ctx, order, func(rec nodeapi.Record) error {
		r.showRecord(rec)
		return nil
	}, r.reportLostContact(w))
	if err != nil {
		if answer, err = r.readOutcome(ctx, w, err); err != nil {
			return r.stateUnknown(node, err)
		}
	}
	switch {
	case answer.Kind == nodeapi.RolledBack && !answer.Unverified:
		return r.nodeFailed(node, v1alpha1.RolledBack, node+": "+w.firstFailure(), answer.Message, answer.Hint)
	case answer.Kind == nodeapi.Unknown:
		return r.nodeFailed(node, v1alpha1.Failed, node+": "+w.firstFailure(), answer.Message, answer.Hint)
	case answer.Unverified: // neither the old nor the new certificates were seen in use
		return r.nodeFailed(node, v1alpha1.Failed, node+": "+w.firstFailure(), answer.Message, answer.Hint)
	case answer.Kind != nodeapi.Committed:
		return r.nodeFailed(node, v1alpha1.Failed, node+": nothing was changed there", answer.Message, answer.Hint)
	}
	r.recordOutcome(node, v1alpha1.Succeeded, "")
	return nil
}

// verifyFromOutside checks that the API server and the gate find the node healthy, before
// the next one is touched.
func (r *run) verifyFromOutside(ctx context.Context, w *worker, began time.Time) error {
	node := w.step.Node
	var checks errgroup.Group // the first failure is reported, after all have ended
	if restartsService(w.step, certs.Kubelet) {
		r.showProgress(Progress{Node: node, Phase: PhaseWorking, Text: "waiting for the kubelet to report to the API server"})
		checks.Go(func() error { return r.awaitKubelet(ctx, w, began) })
	}
	if w.step.ControlPlane {
		checks.Go(func() error {
			if _, err := r.awaitGate(ctx, nil, r.Timeout, r.overriddenSinceStart); err != nil {
				return r.stoppedError(node+": verified on the node, but the cluster did not become healthy again", err)
			}
			return nil
		})
	}
	if err := checks.Wait(); err != nil {
		return err
	}
	r.showProgress(Progress{Node: node, Phase: PhaseVerified, Done: true, Took: r.Now().Sub(began), Text: r.summaryOf(w)})
	return nil
}

// awaitKubelet waits until a node's restarted kubelet has reported to the API server.
func (r *run) awaitKubelet(ctx context.Context, w *worker, began time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout+time.Minute)
	defer cancel()
	// A kubelet renews its lease as soon as it starts, so the moment of that is
	// what to compare with: one a second later would wait for the next renewal.
	restarted := began
	for _, rec := range w.recordsOf(nodeapi.Restarted) {
		if rec.Service == certs.Kubelet && rec.StartedAt != nil {
			restarted = *rec.StartedAt
		}
	}
	if err := r.cluster.Observer.Ready(ctx, w.step.Node, restarted); err != nil {
		return r.stoppedError(w.step.Node+": verified on the node, but it did not become Ready", err)
	}
	return nil
}

// finishRotation records on a node of the last wave that the whole rotation has succeeded, so
// that it is not taken for an unfinished one.
func (r *run) finishRotation(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if len(r.workers) == 0 && r.Unfinished != nil {
		// The interrupted run had done everything.
		if err := r.openOneDone(ctx); err != nil {
			r.addNote("the end of rotation %s could not be recorded (%s); the same command within a day finds nothing left to do", r.ID, hint.TextOf(err))
			return nil
		}
	}
	var g errgroup.Group
	for _, w := range r.workers {
		g.Go(func() error {
			_, err := w.carryOut(ctx, r.newOrder(nodeapi.OrderFinish, w), func(nodeapi.Record) error { return nil }, nil)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		r.addNote("the end of the rotation could not be recorded everywhere: %s", hint.TextOf(err))
	}
	r.forgetWorkers(noNode)
	return nil
}

func (r *run) openOneDone(ctx context.Context) error {
	for _, s := range r.Plan.AllSteps() {
		// To open one that was interrupted in another rotation is to change it.
		if r.Unfinished.Committed[s.Node] && !r.wasInterrupted(s.Node) {
			return r.openSteps(ctx, []plan.Step{s})
		}
	}
	return nil
}

// releaseWorkers lets the processes at hand end without the rotation being finished, and
// returns a function that waits until they have: a pod whose process has come to its end
// need not be given time to. That it may fail is no harm:
// removing the pods ends them too.
func (r *run) releaseWorkers(ctx context.Context, except func(node string) bool) (wait func()) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	var telling errgroup.Group
	for node, w := range r.workers {
		if except(node) {
			continue
		}
		telling.Go(func() error {
			_, err := w.carryOut(ctx, r.newOrder(nodeapi.OrderAbandon, w), func(nodeapi.Record) error { return nil }, nil)
			return err
		})
	}
	r.forgetWorkers(except)
	return func() {
		_ = telling.Wait() // see above
		cancel()
	}
}

// forgetWorkers lets go of the processes at hand.
func (r *run) forgetWorkers(except func(node string) bool) {
	r.Lock()
	defer r.Unlock()
	for node := range r.workers {
		if !except(node) {
			delete(r.open, node)
			delete(r.workers, node)
		}
	}
}

// noNode is an exception for no node.
func noNode(string) bool { return false }

func (r *run) newOrder(kind nodeapi.OrderKind, w *worker) nodeapi.Order {
	return nodeapi.Order{
		CopyEtcd: w.copyEtcd, RequireCopy: w.copyEtcd && !r.Force,
		Kind: kind, ID: rand.Text(), Rotation: r.ID, Token: w.token, Scope: r.scope, StartTime: r.startTime, Restart: r.Request.Restart,
		ValiditySeconds: int64(r.Request.Validity / time.Second), TimeoutSeconds: int64(r.Timeout / time.Second),
		Compromised: r.Request.Compromised,
	}
}
