package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// Recover brings a cluster back whose certificates have expired. Its plan is that of a request
// with Recover set. It is [Rotate] with another part for the control plane:
//
//   - open every control-plane node, stage those with expired certificates
//   - commit all of them whose API server or etcd member does not answer, at the same time: etcd
//     members with expired certificates refuse each other, so none becomes healthy alone
//   - wait until etcd has its quorum, and every API server is ready
//   - commit the other ones, one after the other, as Rotate does
//   - wait until the kubelets report to the API server
func Recover(ctx context.Context, c Cluster, o Options) (*v1alpha1.RotationReport, error) {
	r := newRun(c, o.withDefaults())
	return r.rotate(ctx, r.recoverControlPlane)
}

// recoverControlPlane is the part of [Recover] that differs.
func (r *run) recoverControlPlane(ctx context.Context) error {
	busy := r.controlPlaneSteps()
	if len(busy) == 0 {
		return nil
	}
	if err := r.refuseInVain(); err != nil {
		return err
	}
	if err := r.openSteps(ctx, slices.Concat(busy, r.idleControlPlane(busy))); err != nil {
		return err
	}
	dead, alive := r.splitDead(busy, r.askHealth(ctx))
	if err := r.stageSteps(ctx, busy); err != nil {
		return err
	}
	if err := interruption(ctx); err != nil {
		return r.interruptedError(err)
	}
	if err := r.commitTogether(ctx, dead); err != nil {
		return err
	}
	remaining := nodeNames(alive)
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
	}
	return nil
}

// refuseInVain refuses a recovery that cannot succeed: without these certificates etcd gets no
// quorum, or an API server does not reach it.
func (r *run) refuseInVain() error {
	var vital []string
	for _, l := range r.Plan.LeftOut {
		n := r.inventoryOf(l.Node)
		if (l.Service == certs.Etcd || l.Service == certs.KubeAPIServer) && n != nil && !n.Time.Before(l.NotAfter) {
			vital = append(vital, l.String())
		}
	}
	if len(vital) == 0 || r.Force {
		return nil
	}
	return &StopError{
		What: "the control plane cannot come back, since certificates that it needs have expired and cannot be renewed; nothing was changed",
		Why:  strings.Join(vital, "; "), Next: "name the hosts that have the key of their CA, too; --force renews the others all the same", kind: ErrStopped,
	}
}

// idleControlPlane returns steps that change nothing, for the control-plane nodes that have no
// other: their health counts.
func (r *run) idleControlPlane(busy []plan.Step) []plan.Step {
	var out []plan.Step
	for i := range r.Scanned {
		n := &r.Scanned[i]
		if n.ControlPlane() && !slices.ContainsFunc(busy, func(s plan.Step) bool { return s.Node == n.Name }) {
			out = append(out, plan.Step{Node: n.Name, ControlPlane: true, Etcd: n.ComponentOf(certs.Etcd) != nil})
		}
	}
	return out
}

// splitDead separates the nodes on which the API server, or etcd, does not answer.
func (r *run) splitDead(steps []plan.Step, healths []inventory.Health) (dead, alive []plan.Step) {
	for _, s := range steps {
		i := slices.IndexFunc(healths, func(h inventory.Health) bool { return h.Node == s.Node })
		if i < 0 || !answers(healths[i]) {
			dead = append(dead, s)
		} else {
			alive = append(alive, s)
		}
	}
	return dead, alive
}

// answers reports whether a node's API server is ready and etcd, which it asks, has a leader.
func answers(h inventory.Health) bool {
	if h.APIServer != nil && !h.APIServer.Healthy {
		return false
	}
	return h.Etcd == nil || h.Etcd.Error == "" && h.Etcd.LeaderID != 0
}

// commitTogether commits nodes at the same time and waits until the control plane answers.
func (r *run) commitTogether(ctx context.Context, steps []plan.Step) error {
	if len(steps) == 0 {
		return nil
	}
	// A commit that has begun is followed to its end.
	ctx = context.WithoutCancel(ctx)
	began := r.Now()
	r.asked = time.Time{}
	failures := make([]error, len(steps)) // one failure must not end the others
	var g errgroup.Group
	for i, s := range steps {
		g.Go(func() error {
			w := r.workers[s.Node]
			limited, cancel := context.WithTimeout(ctx, w.limit+2*r.Timeout)
			defer cancel()
			failures[i] = r.commitOnNode(limited, w)
			return nil
		})
	}
	_ = g.Wait() // see failures
	if err := worstFailure(failures); err != nil {
		return err
	}
	r.showProgress(Progress{Phase: PhaseWaiting, Text: "waiting for etcd's quorum and every API server"})
	if _, err := r.awaitGate(ctx, nil, r.Timeout, r.overriddenSinceStart); err != nil {
		return r.stoppedError("all control-plane nodes have new certificates, but the control plane does not answer", err)
	}
	return r.awaitKubelets(ctx, steps, began)
}

// awaitKubelets waits until the kubelets that were restarted report to the API server.
func (r *run) awaitKubelets(ctx context.Context, steps []plan.Step, began time.Time) error {
	failures := make([]error, len(steps))
	var g errgroup.Group
	for i, s := range steps {
		w := r.workers[s.Node]
		g.Go(func() error {
			if restartsService(s, certs.Kubelet) {
				failures[i] = r.awaitKubelet(ctx, w, began)
			}
			if failures[i] == nil {
				r.showProgress(Progress{Node: s.Node, Phase: PhaseVerified, Done: true, Took: r.Now().Sub(began), Text: r.summaryOf(w)})
			}
			return nil
		})
	}
	_ = g.Wait() // see failures
	return worstFailure(failures)
}
