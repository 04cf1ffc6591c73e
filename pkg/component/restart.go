package component

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// shortGrace is how long a component that holds no state may take to exit before it
// is killed. The API server's open watches would keep it for its whole usual 30 s,
// with its listener closed all that time.
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

	mu  sync.Mutex
	cri *criClient
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

	pid     uint32 // systemd
	detail  string // systemd: why it ended
	logPath string // CRI
}

// Current returns the newest instance of a component.
func (r *Runtime) Current(ctx context.Context, c inventory.Component) (Instance, error) {
	switch c.Runtime {
	case inventory.StaticPod, inventory.DaemonSet:
		return r.currentContainer(ctx, c)
	case inventory.Systemd:
		return r.currentUnit(ctx, c.Unit)
	default:
		return Instance{}, unknownRuntime(c)
	}
}

// Stop ends an instance; its supervisor starts the next one by itself. It returns
// when the instance is gone. Where none runs, the kubelet is about to start one, and
// systemd is told to, since it may have given up. etcd gets SIGTERM and all the time that ctx leaves, and
// is never killed; every other component is killed after a short grace.
func (r *Runtime) Stop(ctx context.Context, c inventory.Component, i Instance) error {
	grace := shortGrace
	if c.Service == certs.Etcd {
		grace = 0
	}
	switch c.Runtime {
	case inventory.StaticPod, inventory.DaemonSet:
		return r.stopContainer(ctx, c, i, grace)
	case inventory.Systemd:
		return r.restartUnit(ctx, c, i, grace)
	default:
		return unknownRuntime(c)
	}
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
	return fmt.Errorf("restart %s: it was started by something unknown\nrestart it by hand, or use --restart=never", c.Service)
}
