package fleet

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"golang.org/x/sync/errgroup"
)

// settle is how long an unhealthy cluster is given before it is refused at the start:
// one answer at a bad moment is no reason to refuse.
const settle = 5 * time.Second

// rotateControlPlane stages every control-plane node, then commits one after the other,
// the etcd leader last, each only when the cluster is healthy without it.
func (r *run) rotateControlPlane(ctx context.Context) error {
	steps := r.controlPlaneSteps()
	if len(steps) == 0 {
		return nil
	}
	whole, half := r.splitInterrupted(steps)
	r.openEarly(ctx)
	if err := r.openSteps(ctx, slices.Concat(whole, r.askedIdle(steps))); err != nil {
		return err
	}
	if err := r.undoInterrupted(ctx, half); err != nil {
		return err
	}
	if _, err := r.awaitGate(ctx, nil, min(settle, r.Timeout), r.overriddenAtStart); err != nil {
		if stop := interruption(ctx); stop != nil {
			return r.interruptedError(stop)
		}
		// It is not the fault of the nodes that were to be rotated.
		for _, u := range r.Unscanned {
			r.showProgress(Progress{Node: u.Node, Phase: PhaseFailed, Text: u.Reason})
		}
		what := "nothing was changed"
		if len(half) > 0 {
			what = "nothing was changed but what had been interrupted on " + joinNodes(nodeNames(half))
		}
		return r.refusedByGate("the cluster is not healthy enough to start; "+what, err)
	}
	r.stageEarly()
	if err := r.stageSteps(ctx, whole); err != nil {
		return err
	}
	r.awaitEarly(ctx)
	return r.commitInTurn(ctx, steps)
}

// askedIdle returns steps that change nothing, for the other control-plane nodes, where each node is
// asked about its own health ([Options.OpenIdle]). Processes on nodes that were interrupted would
// put files back.
func (r *run) askedIdle(busy []plan.Step) []plan.Step {
	if !r.OpenIdle {
		return nil
	}
	whole, _ := r.splitInterrupted(r.idleControlPlane(busy))
	return whole
}

// commitInTurn commits control-plane nodes one after the other, each only when the cluster is healthy
// without it.
func (r *run) commitInTurn(ctx context.Context, steps []plan.Step) error {
	remaining := nodeNames(steps)
	for len(remaining) > 0 {
		if err := interruption(ctx); err != nil {
			return r.interruptedError(err)
		}
		node, err := r.awaitClearance(ctx, remaining)
		if err != nil {
			return err
		}
		if err := r.commitNode(ctx, node); err != nil {
			return err
		}
		remaining = slices.DeleteFunc(remaining, func(n string) bool { return n == node })
		r.pauseBetween(ctx, len(remaining))
	}
	return nil
}

// controlPlaneSteps returns the steps of control-plane nodes that have something to do.
func (r *run) controlPlaneSteps() []plan.Step {
	var steps []plan.Step
	for _, w := range r.Plan.Waves {
		if w.ControlPlane {
			steps = append(steps, w.Steps...)
		}
	}
	return slices.DeleteFunc(steps, plan.Step.IsIdle)
}

// awaitClearance waits until the next control-plane node may be touched, and says which that
// is: the lock is still ours and the cluster is healthy, also without it.
func (r *run) awaitClearance(ctx context.Context, remaining []string) (node string, err error) {
	node, err = r.awaitGate(ctx, remaining, r.Timeout, r.overriddenSinceStart)
	if err != nil {
		return "", r.refusedByGate("the cluster is not healthy enough to touch "+node, err)
	}
	// Last, since the gate may have waited.
	return node, r.confirmLock(ctx, remaining, "touched")
}

// rotateWorkers stages and commits the workers, wave by wave; the first failure stops.
func (r *run) rotateWorkers(ctx context.Context) error {
	for _, w := range r.Plan.Waves {
		steps := slices.DeleteFunc(slices.Clone(w.Steps), plan.Step.IsIdle)
		if w.ControlPlane || len(steps) == 0 {
			continue
		}
		if err := r.rotateWave(ctx, steps); err != nil {
			return err
		}
	}
	return nil
}

// rotateWave stages and commits some workers at the same time.
func (r *run) rotateWave(ctx context.Context, steps []plan.Step) error {
	if err := interruption(ctx); err != nil {
		return r.interruptedError(err)
	}
	// The wave before is done: its processes need not wait for the end of a fleet.
	defer r.releaseWorkers(ctx, r.signsLater())()
	if err := r.confirmLock(ctx, nodeNames(steps), "touched"); err != nil {
		return err
	}
	if others := r.takeEarly(steps); len(others) > 0 {
		if err := r.openSteps(ctx, others); err != nil {
			return err
		}
		if err := r.stageAll(ctx, others); err != nil {
			return err
		}
	}
	// Staging may have taken minutes.
	if err := r.confirmLock(ctx, nodeNames(steps), "committed"); err != nil {
		return err
	}
	return eachStep(steps, func(s plan.Step) error { return r.commitNode(ctx, s.Node) })
}

// eachStep does some steps at the same time, where one failure does not end the others.
func eachStep(steps []plan.Step, do func(plan.Step) error) error {
	failures := make([]error, len(steps))
	var g sync.WaitGroup
	for i, s := range steps {
		g.Go(func() { failures[i] = do(s) })
	}
	g.Wait()
	return worstFailure(failures)
}

// stageAll stages the workers of a wave, interrupted ones after the others: what these are
// to renew is known once their processes have put the old certificates back.
func (r *run) stageAll(ctx context.Context, steps []plan.Step) error {
	whole, half := r.splitInterrupted(steps)
	if err := r.stageSteps(ctx, whole); err != nil {
		return err
	}
	for _, s := range half {
		if err := r.stageUndone(ctx, r.workers[s.Node]); err != nil {
			if stop := interruption(ctx); stop != nil {
				return r.interruptedError(stop)
			}
			return err
		}
	}
	return nil
}

// openSteps starts the pods of some steps at the same time.
func (r *run) openSteps(ctx context.Context, steps []plan.Step) error {
	g, opening := errgroup.WithContext(ctx)
	for _, s := range steps {
		g.Go(func() error {
			w, err := r.openSession(opening, s)
			if err != nil {
				return err
			}
			r.holdWorker(w)
			return nil
		})
	}
	err := g.Wait()
	if stop := interruption(ctx); err != nil && stop != nil {
		return r.interruptedError(stop)
	}
	return err
}

// askHealth asks every opened control-plane node at the same time, also about the API
// servers of the others.
func (r *run) askHealth(ctx context.Context) []inventory.Health {
	var g errgroup.Group
	var asked []*worker
	ours := map[string]bool{}
	r.Lock()
	for _, w := range r.workers {
		if w.step.ControlPlane {
			asked = append(asked, w)
			ours[w.step.Node] = true
		}
	}
	r.Unlock()
	slices.SortFunc(asked, func(a, b *worker) int { return strings.Compare(a.step.Node, b.step.Node) })
	peers := gate.PeersToProbe(r.Scanned, func(node string) bool { return ours[node] })
	out := make([]inventory.Health, len(asked))
	for i, w := range asked {
		g.Go(func() error {
			asking, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			h, err := w.session.Health(asking, peers)
			if err != nil {
				h = inventory.Health{APIServer: &inventory.Probe{Message: "the node could not be asked: " + hint.TextOf(err)}}
			}
			h.Node = w.step.Node
			out[i] = h
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors
	return gate.WithPeerAnswers(out, peers)
}

func nodeNames(steps []plan.Step) []string {
	out := make([]string, 0, len(steps))
	for _, s := range steps {
		out = append(out, s.Node)
	}
	return out
}

func restartsService(s plan.Step, service certs.Service) bool {
	return slices.Contains(s.Restarts, service)
}

func (r *run) resultOf(node string) v1alpha1.Result {
	r.Lock()
	defer r.Unlock()
	return r.outcomes[node].result
}
