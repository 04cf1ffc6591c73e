package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// earlyStaging is what runs ahead of the workers' turn. The workers of the first wave are opened and
// staged together with the control plane. A controller manager signs their requests, and after its
// restart it signs nothing until it is the leader again, which may take 15 seconds. Nothing on a
// worker changes by it. What fails is tried again in the worker's own turn, which reports it.
type earlyStaging struct {
	cancel  context.CancelFunc // nil: nothing was begun
	healthy chan struct{}      // closed once the gate has let the rotation start
	running sync.WaitGroup
	workers map[string]*worker // by node, those whose process runs; complete once running is done
}

// openEarly begins to open the workers of the first wave. Each is staged once stageEarly was
// called.
func (r *run) openEarly(ctx context.Context) {
	ctx, r.early.cancel = context.WithCancel(ctx)
	r.early.healthy = make(chan struct{})
	// The process of an interrupted node would undo what was interrupted, which is a change.
	steps, _ := r.splitInterrupted(r.firstWorkers())
	for _, s := range steps {
		r.early.running.Go(func() { r.prepareEarly(ctx, s) })
	}
}

// stageEarly lets the workers that were opened early be staged.
func (r *run) stageEarly() { close(r.early.healthy) }

func (r *run) prepareEarly(ctx context.Context, s plan.Step) {
	w, err := r.openSession(ctx, s)
	if err != nil {
		return
	}
	r.Lock()
	r.early.workers[s.Node] = w
	r.Unlock()
	select {
	case <-r.early.healthy:
	case <-ctx.Done():
		return
	}
	answer, err := r.stageAndSign(ctx, w)
	if err == nil && answer.Kind == nodeapi.Staged {
		w.stagedAt = r.Now()
		r.showProgress(Progress{Node: s.Node, Phase: PhaseStaged, Text: "staged"})
	}
}

func (r *run) firstWorkers() []plan.Step {
	for _, w := range r.Plan.Waves {
		steps := slices.DeleteFunc(slices.Clone(w.Steps), plan.Step.IsIdle)
		if !w.ControlPlane && len(steps) > 0 {
			return steps
		}
	}
	return nil
}

// awaitEarly waits for the workers that are being staged, at most three seconds.
func (r *run) awaitEarly(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	done := make(chan struct{})
	go func() {
		r.early.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// takeEarly makes the workers that were staged early those at hand, once all are, and returns
// the steps that remain to be opened and staged.
func (r *run) takeEarly(steps []plan.Step) (others []plan.Step) {
	r.early.running.Wait()
	for _, s := range steps {
		w := r.early.workers[s.Node]
		// An older stage is not used: the worker's pod has a deadline.
		if w == nil || r.Now().Sub(w.stagedAt) > 10*time.Minute {
			others = append(others, s)
		}
	}
	r.holdEarly()
	return others
}

// dropEarly ends what still runs ahead, so that its processes can be released.
func (r *run) dropEarly() {
	if r.early.cancel != nil {
		r.early.cancel()
	}
	r.early.running.Wait()
	r.holdEarly()
}

func (r *run) holdEarly() {
	for _, w := range r.early.workers {
		r.holdWorker(w)
	}
	clear(r.early.workers)
}
