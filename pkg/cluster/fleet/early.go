package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// The workers of the first wave are staged together with the control plane. A controller
// manager signs their requests, and after its restart it signs nothing until it is the
// leader again, which may take 15 seconds. Nothing on a worker changes by it. What fails is
// tried again in the worker's own turn, which reports it.
const (
	// earlyPatience is how long a control plane that is staged waits for these workers.
	earlyPatience = 3 * time.Second
	// earlyLasts is how old such a stage may become: the worker's pod has a deadline.
	earlyLasts = 10 * time.Minute
)

// stageEarly begins to open and stage the workers of the first wave. The returned function
// waits until that is done or [earlyPatience] is over.
func (r *run) stageEarly(ctx context.Context) (wait func()) {
	ctx, cancel := context.WithCancel(ctx)
	// The process of an interrupted node would undo what was interrupted, which is a change.
	steps, _ := r.splitInterrupted(r.firstWorkers())
	var staging sync.WaitGroup
	for _, s := range steps {
		staging.Go(func() { r.stageWorkerEarly(ctx, s) })
	}
	return func() {
		patience := time.AfterFunc(earlyPatience, cancel)
		staging.Wait()
		patience.Stop()
		cancel()
	}
}

func (r *run) stageWorkerEarly(ctx context.Context, s plan.Step) {
	w, err := r.openSession(ctx, s)
	if err != nil {
		return
	}
	answer, err := r.stageAndSign(ctx, w)
	if err == nil && answer.Kind == nodeapi.Staged {
		w.stagedAt = r.Now()
		r.showProgress(Progress{Node: s.Node, Phase: PhaseStaged, Text: "staged"})
	}
	r.Lock()
	defer r.Unlock()
	r.early[s.Node] = w
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

// takeEarly makes those of the steps that were staged early the workers at hand, and returns
// the others, which remain to be opened and staged.
func (r *run) takeEarly(steps []plan.Step) (others []plan.Step) {
	for _, s := range steps {
		w := r.early[s.Node]
		if w == nil || r.Now().Sub(w.stagedAt) > earlyLasts {
			others = append(others, s)
		}
	}
	r.holdEarly()
	return others
}

// holdEarly makes all that were opened early workers at hand.
func (r *run) holdEarly() {
	for _, w := range r.early {
		r.holdWorker(w)
	}
	clear(r.early)
}
