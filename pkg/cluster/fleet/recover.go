package fleet

import (
	"context"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Recover brings a cluster back whose certificates have expired. Its plan is that of a request
// with Recover set. It is [Rotate] with another part for the control plane:
//
//   - open every control-plane node, stage those with expired certificates
//   - commit all of them whose API server or etcd member does not answer, at the same time: etcd
//     members with expired certificates refuse each other, so none becomes healthy alone. Where
//     etcd's certificates are valid and it has its quorum, one after the other. Where etcd has no
//     quorum, its data is copied before
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
	dead, alive, quorum := r.findDead(ctx, busy)
	r.copyMembers(dead, quorum)
	if err := r.stageSteps(ctx, busy); err != nil {
		return err
	}
	if err := interruption(ctx); err != nil {
		return r.interruptedError(err)
	}
	if err := r.commitDead(ctx, dead, quorum); err != nil {
		return err
	}
	return r.commitInTurn(ctx, alive)
}

// refuseInVain refuses a recovery that cannot succeed: without these certificates etcd gets no
// quorum, or an API server does not reach it.
func (r *run) refuseInVain() error {
	var vital []string
	for _, l := range r.Plan.LeftOut {
		n := r.inventoryOf(l.Node)
		if n != nil && !n.Time.Before(l.NotAfter) && isVital(n, l) {
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

// isVital reports whether etcd gets no quorum without a certificate, or an API server does not
// reach it, or is trusted by no client. Both work without a valid certificate of etcd's health
// checks, of the front proxy, and of the API server as client of kubelets.
func isVital(n *inventory.Node, l plan.LeftOut) bool {
	i := slices.IndexFunc(n.Certificates, func(c inventory.Certificate) bool { return c.Name == l.Name && c.Store.Cert == l.Path })
	switch l.Service {
	case certs.Etcd:
		return l.Name != "etcd-healthcheck-client"
	case certs.KubeAPIServer:
		return i < 0 || n.Certificates[i].Client == nil || n.Certificates[i].Client.Kind == inventory.ToEtcd
	}
	return false
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

// findDead separates the nodes that do not answer from those that do, once that is sure: one answer
// at a bad moment makes no node dead. quorum means that etcd has a leader all the same.
func (r *run) findDead(ctx context.Context, busy []plan.Step) (dead, alive []plan.Step, quorum bool) {
	for until := time.Now().Add(min(settle, r.Timeout)); ; {
		healths := r.askHealth(ctx)
		dead, alive = r.splitDead(busy, healths)
		quorum = slices.ContainsFunc(healths, func(h inventory.Health) bool {
			return h.Etcd != nil && h.Etcd.Error == "" && h.Etcd.LeaderID != 0
		})
		if len(dead) == 0 || time.Now().After(until) || wait.SleepFor(ctx, wait.ConnectEvery) != nil {
			return dead, alive, quorum
		}
	}
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

// copyMembers has the data of etcd copied on the nodes of steps if it has no quorum. Whether that can
// be done is checked when they are staged, before anything is changed on any node.
func (r *run) copyMembers(steps []plan.Step, quorum bool) {
	for _, s := range steps {
		if w := r.workers[s.Node]; s.Etcd && !quorum {
			w.copyEtcd = true
			w.limit += nodeapi.EtcdCopyLimit
		}
	}
}

// commitDead commits the nodes that do not answer and waits until the control plane does: at the
// same time or, where etcd has its quorum with valid certificates, one after the other. Members
// with expired certificates keep a quorum only until one of them restarts.
func (r *run) commitDead(ctx context.Context, steps []plan.Step, quorum bool) error {
	if len(steps) == 0 {
		return nil
	}
	// A commit that has begun is followed to its end.
	ctx = context.WithoutCancel(ctx)
	began := r.Now()
	r.asked = time.Time{}
	if err := r.commitAll(ctx, steps, quorum && !r.etcdExpired(steps)); err != nil {
		return err
	}
	r.showProgress(Progress{Phase: PhaseWaiting, Text: "waiting for etcd's quorum and every API server"})
	if _, err := r.awaitGate(ctx, nil, r.Timeout, r.overriddenSinceStart); err != nil {
		if !r.Force {
			return r.refusedByGate(withVerb(nodeNames(steps), "has", "have")+" new certificates, but not all of the control plane is healthy", err)
		}
		r.addNote("not all of the control plane is healthy, which --force overrides: %s", hint.TextOf(err))
	}
	return r.awaitKubelets(ctx, steps, began)
}

// etcdExpired reports whether certificates of etcd among the targets of some steps have expired, or
// expire while other nodes are committed. Those that expire later are renewed as well, while the
// members still accept each other. To commit the nodes one after the other takes less than an hour.
func (r *run) etcdExpired(steps []plan.Step) bool {
	return slices.ContainsFunc(steps, func(s plan.Step) bool {
		n := r.inventoryOf(s.Node)
		return slices.ContainsFunc(s.Targets, func(t plan.Target) bool {
			return t.Service == certs.Etcd && (n == nil || !n.Time.Add(time.Hour).Before(t.OldNotAfter))
		})
	})
}

// commitAll commits nodes at the same time, where one failure does not end the others; or one after
// the other, until one fails.
func (r *run) commitAll(ctx context.Context, steps []plan.Step, oneByOne bool) error {
	commit := func(s plan.Step) error {
		w := r.workers[s.Node]
		limited, cancel := context.WithTimeout(ctx, w.limit+2*r.Timeout)
		defer cancel()
		return r.commitOnNode(limited, w)
	}
	if !oneByOne {
		return eachStep(steps, commit)
	}
	for _, s := range steps {
		if err := commit(s); err != nil {
			return err
		}
	}
	return nil
}

// awaitKubelets waits until the kubelets that were restarted report to the API server.
func (r *run) awaitKubelets(ctx context.Context, steps []plan.Step, began time.Time) error {
	return eachStep(steps, func(s plan.Step) error {
		w := r.workers[s.Node]
		if restartsService(s, certs.Kubelet) {
			if err := r.awaitKubelet(ctx, w, began); err != nil {
				return err
			}
		}
		r.showProgress(Progress{Node: s.Node, Phase: PhaseVerified, Done: true, Took: r.Now().Sub(began), Text: r.summaryOf(w)})
		return nil
	})
}

// etcdCopies says where the data of etcd was copied to, or why it was not.
func (r *run) etcdCopies() []string {
	var out []string
	for _, s := range r.busySteps() {
		if w := r.seen[s.Node]; w != nil {
			for _, rec := range w.recordsOf(nodeapi.EtcdCopied) {
				out = append(out, s.Node+": "+rec.Message)
			}
		}
	}
	return out
}
