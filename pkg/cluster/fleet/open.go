package fleet

import (
	"context"

	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// openSession starts the process on a node, in a pod or over ssh, and connects to it.
func (r *run) openSession(ctx context.Context, s plan.Step) (*worker, error) {
	r.showProgress(Progress{Node: s.Node, Phase: PhaseStarting, Text: "starting its process"})
	session, err := r.cluster.Nodes.Open(ctx, r.ID, s)
	if err != nil {
		return nil, r.stoppedError(s.Node+": its process did not start; nothing was changed there", err)
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

// holdWorker makes a worker the one at hand for its node. What an earlier session with the
// same node has read of its journal answers nothing that is asked from now on.
func (r *run) holdWorker(w *worker) {
	r.Lock()
	defer r.Unlock()
	if before := r.seen[w.step.Node]; before != nil {
		w.last = max(w.last, before.last)
	}
	r.workers[w.step.Node] = w
	r.seen[w.step.Node] = w
}
