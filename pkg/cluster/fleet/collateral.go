package fleet

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"golang.org/x/sync/errgroup"
)

// observeRestarts remembers how often the control plane's containers have restarted.
// It is a courtesy of the report: what cannot be asked is a note, no failure.
func (r *run) observeRestarts(ctx context.Context, steps []plan.Step) map[string]map[string]Restart {
	ctx, cancel := context.WithTimeout(ctx, r.courtesyTimeout())
	defer cancel()
	out := map[string]map[string]Restart{}
	var g errgroup.Group
	for _, s := range steps {
		if !s.ControlPlane {
			continue
		}
		g.Go(func() error {
			seen, err := r.cluster.Observer.Restarts(ctx, s.Node)
			if err != nil {
				r.addNote("%s: collateral restarts are not known: %s", s.Node, hint.TextOf(err))
				return nil
			}
			r.Lock()
			defer r.Unlock()
			out[s.Node] = seen
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors
	return out
}

// courtesyTimeout is how long to ask for what a report can do without: shortly, where a node is
// failed and the operator should read of that soon.
func (r *run) courtesyTimeout() time.Duration {
	if r.anyResult(v1alpha1.Failed) {
		return 2 * time.Second
	}
	return 10 * time.Second
}

// listCollateral lists the containers that restarted or ended on nodes that we worked on, and that
// this program did not restart: typically controllers whose API server was unavailable for too long.
func (r *run) listCollateral(ctx context.Context) []v1alpha1.Collateral {
	if len(r.restarts) == 0 {
		return nil
	}
	var worked []plan.Step
	for _, s := range r.busySteps() {
		if _, ok := r.restarts[s.Node]; ok {
			worked = append(worked, s)
		}
	}
	after := r.observeRestarts(ctx, worked)
	var out []v1alpha1.Collateral
	for _, s := range worked {
		ours := map[certs.Service]bool{}
		if w := r.seen[s.Node]; w != nil {
			for _, rec := range w.recordsOf(nodeapi.Restarting) {
				ours[rec.Service] = true
			}
		}
		out = append(out, collateralOf(s.Node, r.restarts[s.Node], after[s.Node], ours)...)
	}
	return out
}

// collateralOf compares the runs of a node's containers before the rotation with those after it.
// One that has ended and waits for its kubelet's back-off is no restart yet, but will be one.
func collateralOf(node string, before, after map[string]Restart, ours map[certs.Service]bool) []v1alpha1.Collateral {
	var out []v1alpha1.Collateral
	for _, name := range slices.Sorted(maps.Keys(after)) {
		if ours[certs.Service(name)] {
			continue
		}
		var reason string
		was := before[name]
		now := after[name]
		switch {
		case now.Count > was.Count:
			reason = "restarted while the rotation worked on the node, not by it. " + now.Reason
		case !was.StartedAt.IsZero() && now.StartedAt.IsZero():
			reason = "ended while the rotation worked on the node, not by it, and was not started again yet. " + now.Reason
		default:
			continue
		}
		out = append(out, v1alpha1.Collateral{Node: node, Service: certs.Service(name), Reason: strings.TrimSpace(reason)})
	}
	return out
}
