package component

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// shortGrace is how long a component that holds no state may take to exit before it
// is killed. The API server's open watches would keep it for its whole usual 30 s,
// with its listener closed all that time; so it is counted from when that closes.
const shortGrace = 3 * time.Second

// pollEvery is how often a supervisor is asked whether it has started a component.
const pollEvery = 50 * time.Millisecond

// Runtime stops components and sees their supervisors start them again: the kubelet
// for pods, systemd for units. Connections are made when they are first needed. It may
// be used by several goroutines.
type Runtime struct {
	Root       hostfs.Root
	Node       string // the node's name, which ends a static pod's name
	CRISocket  string // host path
	DBusSocket string // host path
	Now        func() time.Time
	// Grace is how long an API server may take to exit once its
	// --shutdown-delay-duration is over, before it is killed; 0: three seconds.
	Grace time.Duration

	mu  sync.Mutex
	cri *criClient
	// mains are the units whose main process was seen to be the component's own.
	mains map[string]bool
	// previousEnded is by container when the one before it ended, as far as it was seen.
	previousEnded map[string]time.Time
}

// Instance is one run of a component, told apart from the one before and after it.
type Instance struct {
	// ID is the container's id, or systemd's invocation id; empty: never started.
	ID        string
	Running   bool
	Exited    bool // it ran and ended by itself or by a signal; neither: it is just starting
	StartedAt time.Time
	// BackOff is for how long the supervisor is expected to wait before it starts
	// the next instance, should this one end now.
	BackOff time.Duration
	// Failing says that the supervisor has started it again lately because the instances
	// before it ended by themselves.
	Failing bool

	pid      uint32 // systemd
	restarts uint32 // systemd: how often it was restarted automatically
	detail   string // systemd: why it ended
	logPath  string // CRI
}

// Current returns the newest instance of a component.
func (r *Runtime) Current(ctx context.Context, c inventory.Component) (Instance, error) {
	switch c.Runtime {
	case inventory.StaticPod, inventory.DaemonSet:
		return r.currentContainer(ctx, c)
	case inventory.Systemd:
		i, err := r.currentUnit(ctx, c.Unit)
		if err == nil {
			r.seeMain(c, i)
		}
		return i, err
	default:
		return Instance{}, unknownRuntime(c)
	}
}

// Stop ends an instance; its supervisor starts the next one by itself. It returns
// when the instance is gone. Where none runs, the kubelet is about to start one, and
// systemd is told to, since it may have given up.
//
// etcd gets SIGTERM and all the time that ctx leaves, and is never killed. A unit has its
// own TimeoutStopSec. An API server is killed after [Runtime.GraceOf], and every other
// container after a short grace. A component that is a child of a unit which runs others
// too (Supervised) is refused: its unit's control group holds etcd and the containers.
func (r *Runtime) Stop(ctx context.Context, c inventory.Component, i Instance) error {
	switch c.Runtime {
	case inventory.StaticPod, inventory.DaemonSet:
		return r.stopContainer(ctx, c, i, r.GraceOf(c))
	case inventory.Systemd:
		return r.restartUnit(ctx, c, i, r.unitGrace(c))
	default:
		return unknownRuntime(c)
	}
}

// GraceOf is for how long a component may take to exit before it is killed; 0: it never
// is. An API server serves on for its --shutdown-delay-duration, so that load balancers
// see it leave, and only then ends its requests.
func (r *Runtime) GraceOf(c inventory.Component) time.Duration {
	switch c.Service {
	case certs.Etcd:
		return 0
	case certs.KubeAPIServer:
		grace := r.Grace
		if grace == 0 {
			grace = shortGrace
		}
		return c.ShutdownDelay() + grace
	}
	if !slices.Contains(certs.Services(), c.Service) {
		return time.Duration(c.GraceSeconds) * time.Second // no component: as its pod says
	}
	return shortGrace
}

// unitGrace is GraceOf for a unit: all but the API server have the unit's own limit, and a
// unit whose main process is not the component is never killed.
func (r *Runtime) unitGrace(c inventory.Component) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Service != certs.KubeAPIServer || !r.mains[c.Unit] {
		return 0
	}
	return r.GraceOf(c)
}

// seeMain notes a unit whose main process is the one that the scan found the component to
// be. Later instances have other numbers.
func (r *Runtime) seeMain(c inventory.Component, i Instance) {
	if c.PID <= 0 || int64(i.pid) != int64(c.PID) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mains == nil {
		r.mains = map[string]bool{}
	}
	r.mains[c.Unit] = true
}

// Await waits for an instance that did not run as old: another one, or old itself where
// that had not started yet.
func (r *Runtime) Await(ctx context.Context, c inventory.Component, old Instance) (Instance, error) {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	var last error
	for {
		now, err := r.Current(ctx, c)
		if err == nil && now.Running && (now.ID != old.ID || !old.Running) {
			return now, nil
		}
		if err != nil && ctx.Err() == nil {
			last = err // the runtime itself may be restarting
		}
		select {
		case <-ctx.Done():
			if last != nil {
				return Instance{}, fmt.Errorf("wait for %s to be started again: %w", c.Service, last)
			}
			return Instance{}, fmt.Errorf("wait for %s to be started again: %w", c.Service, ctx.Err())
		case <-tick.C:
		}
	}
}

// Close ends the connections.
func (r *Runtime) Close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cri != nil {
		_ = r.cri.conn.Close()
		r.cri = nil
	}
}

func (r *Runtime) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

func unknownRuntime(c inventory.Component) error {
	if c.Runtime == inventory.Supervised {
		return fmt.Errorf("restart %s: it is a child process of unit %q, which runs other components too\nrestart that unit by hand, or use --restart=never", c.Service, c.Unit)
	}
	return fmt.Errorf("restart %s: it was started by something unknown\nrestart it by hand, or use --restart=never", c.Service)
}
