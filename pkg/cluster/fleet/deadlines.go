package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// stepTimeout bounds one order on one node: every component, and whatever else reads the
// files, is restarted once, and once more where that is rolled back.
func (r *run) stepTimeout(s plan.Step) time.Duration {
	once := time.Duration(len(s.Restarts)+len(s.OtherRestarts)+1)*r.Timeout + r.shutdownDelay(s.Node)
	for _, u := range s.OtherRestarts {
		once += max(nodeapi.StopTimeout, time.Duration(u.GraceSeconds)*time.Second+nodeapi.KillMargin)
	}
	// The kubelet's back-off alone can be 300 s, once for the restart and once more for a
	// rollback. With the time that etcd is given to exit, these pauses are 12 minutes.
	const pauses = 12 * time.Minute
	// A kubelet without an API server leaves static pods alone for up to a minute after its own
	// start: in each of the three turns in which they are restarted, and again where that is
	// rolled back.
	const coldStarts = 6 * time.Minute
	// The API server that we talk through may be unavailable for part of it.
	return max(20*time.Minute, pauses+coldStarts+2*once)
}

// shutdownDelay is for how long a node's API server continues to serve when it is stopped.
func (r *run) shutdownDelay(node string) time.Duration {
	if n := r.inventoryOf(node); n != nil {
		if c := n.ComponentOf(certs.KubeAPIServer); c != nil {
			return c.ShutdownDelay()
		}
	}
	return 0
}

// setLifetimes says how long the process of each step may be needed. Those of the control
// plane and of the first workers begin together, and wait for each other.
func (r *run) setLifetimes() {
	var together time.Duration
	for _, w := range r.Plan.Waves {
		for _, s := range w.Steps {
			if s.ControlPlane && !s.IsIdle() {
				together += r.stepTimeout(s) + 2*r.Timeout + r.Pause
			}
		}
	}
	waves := make([]plan.Wave, 0, len(r.Plan.Waves))
	for _, w := range r.Plan.Waves {
		steps := make([]plan.Step, 0, len(w.Steps))
		for _, s := range w.Steps {
			life := 15 * time.Minute // for keys and signatures
			life += together + r.stepTimeout(s)
			s.LifetimeSeconds = int64(life / time.Second)
			steps = append(steps, s)
		}
		waves = append(waves, plan.Wave{ControlPlane: w.ControlPlane, Steps: steps})
	}
	r.Plan.Waves = waves
}

// keepAlive lets the processes on all nodes know from time to time that more orders follow, until
// the returned function is called. One that cannot be reached is tried again the next time.
func (r *run) keepAlive(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() {
		// The processes end after [nodeapi.IdleTimeout] without an order.
		for wait.SleepFor(ctx, 4*time.Minute) == nil {
			r.sendKeepAlive(ctx)
		}
	})
	return func() { cancel(); working.Wait() }
}

func (r *run) sendKeepAlive(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	var telling sync.WaitGroup
	r.Lock()
	for _, w := range r.open {
		telling.Go(func() { _ = w.session.Order(ctx, r.newOrder(nodeapi.OrderKeepAlive, w)) })
	}
	r.Unlock()
	telling.Wait()
}

// pauseBetween waits before the next control-plane node, so that load balancers take the one
// before back.
func (r *run) pauseBetween(ctx context.Context, next int) {
	if r.Pause <= 0 || next == 0 {
		return
	}
	r.showProgress(Progress{Phase: PhaseWaiting, Text: "waiting " + r.Pause.String() + " before the next control-plane node (--pause)"})
	_ = wait.SleepFor(ctx, r.Pause) // the caller sees that ctx has ended
}
