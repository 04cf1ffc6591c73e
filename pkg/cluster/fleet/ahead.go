package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// The first wave's workers are opened and staged together with the control plane. Their requests
// are signed by a controller manager, and one that was just restarted keeps its lease
// for a while: asked after the control plane's turn they wait for that, every time.
// Nothing on a worker changes by it, and what goes wrong is left to the worker's own
// turn, which tries again and tells of it.
const (
	// aheadPatience is how long the control plane waits for workers that are being
	// staged ahead, once it is staged itself.
	aheadPatience = 3 * time.Second
	// aheadKeeps is how old what was staged ahead may become: the worker's pod has
	// its own deadline.
	aheadKeeps = 10 * time.Minute
)

// ahead is a worker that is, or was, staged before its turn.
type ahead struct {
	done   chan struct{} // closed when what follows is set
	worker *worker       // nil: it could not be opened
	staged time.Time
	err    error
}

// openAhead begins to open the first wave of workers, and to stage each as soon as the
// returned function was called.
func (r *run) openAhead(ctx context.Context) (stage func()) {
	ctx, r.leaveAhead = context.WithCancel(ctx)
	mayStage := make(chan struct{})
	// What an interrupted node gives back when it is undone is only known then.
	whole, _ := r.apart(r.firstWorkers())
	for _, s := range whole {
		a := &ahead{done: make(chan struct{})}
		r.ahead[s.Node] = a
		go func() {
			defer close(a.done)
			allowed := func() bool {
				select {
				case <-mayStage:
				case <-ctx.Done():
					a.err = ctx.Err()
				}
				return a.err == nil
			}
			if a.worker, a.err = r.start(ctx, s); a.err != nil || !allowed() {
				return
			}
			answer, err := r.sign(ctx, a.worker)
			if err == nil && answer.Kind != nodeapi.Staged {
				err = fmt.Errorf("stage node %q: %s", s.Node, answer.Message)
			}
			a.staged, a.err = r.Now(), err
			if err == nil {
				r.say(Progress{Node: s.Node, Phase: PhaseStaged, Text: "staged"})
			}
		}()
	}
	return func() { close(mayStage) }
}

func (r *run) firstWorkers() []plan.Step {
	for _, w := range r.Plan.Waves {
		steps := slices.DeleteFunc(slices.Clone(w.Steps), plan.Step.Idle)
		if !w.ControlPlane && len(steps) > 0 {
			return steps
		}
	}
	return nil
}

// awaitAhead gives those that are being staged ahead a moment.
func (r *run) awaitAhead(ctx context.Context) {
	patience := time.NewTimer(aheadPatience)
	defer patience.Stop()
	for _, a := range r.ahead {
		select {
		case <-a.done:
		case <-patience.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// takeAhead makes those of the steps that were staged ahead the workers at hand and
// returns the others, which remain to be opened and staged.
func (r *run) takeAhead(steps []plan.Step) (others []plan.Step) {
	for _, s := range steps {
		a := r.ahead[s.Node]
		if a == nil {
			others = append(others, s)
			continue
		}
		delete(r.ahead, s.Node)
		<-a.done
		if a.worker != nil {
			r.hold(a.worker)
		}
		if a.err != nil || r.Now().Sub(a.staged) > aheadKeeps {
			others = append(others, s)
		}
	}
	return others
}

// dropAhead leaves off staging those that nobody came for, so that they can be released.
func (r *run) dropAhead() {
	if r.leaveAhead == nil {
		return
	}
	r.leaveAhead()
	for node, a := range r.ahead {
		<-a.done
		if a.worker != nil {
			r.hold(a.worker)
		}
		delete(r.ahead, node)
	}
}

// start opens a session with a step's node.
func (r *run) start(ctx context.Context, s plan.Step) (*worker, error) {
	r.say(Progress{Node: s.Node, Phase: PhaseStarting, Text: "starting the node's pod"})
	session, err := r.cluster.Nodes.Open(ctx, r.ID, s)
	if err != nil {
		return nil, r.stopped(s.Node+": its pod did not start; nothing was changed there", err)
	}
	r.Lock()
	limit := r.stepTimeout(s)
	r.Unlock()
	w := &worker{step: s, session: session, token: r.lock.Token(), timeout: r.Timeout, limit: limit}
	r.Lock()
	r.open[s.Node] = w
	r.Unlock()
	return w, nil
}

// hold makes a worker the one at hand for its node. What an earlier session with the
// same node has read of its journal answers nothing that is asked from now on.
func (r *run) hold(w *worker) {
	r.Lock()
	defer r.Unlock()
	if before := r.seen[w.step.Node]; before != nil {
		w.last = max(w.last, before.last)
	}
	r.workers[w.step.Node], r.seen[w.step.Node] = w, w
}
