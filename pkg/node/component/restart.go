package component

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Runtime stops components and waits until their supervisors have started them again: the
// kubelet for pods, systemd for units, dockerd for containers of its own. Connections are made when they are first needed. It may
// be used by several goroutines.
type Runtime struct {
	Root       hostfs.Root
	Node       string // the node's name, which ends a static pod's name
	CRISocket  string // host path
	DBusSocket string // host path
	// DockerSocket is dockerd's, a host path.
	DockerSocket string
	Now          func() time.Time
	// Grace is how long an API server may take to exit once its
	// --shutdown-delay-duration is over, before it is killed; 0: three seconds.
	Grace time.Duration

	mu     sync.Mutex
	cri    *criClient
	docker *dockerClient
	// mains holds the units whose main process is the component itself.
	mains map[string]bool
	// previousEnded holds, for each container, the time at which the previous one ended, if
	// known.
	previousEnded map[string]time.Time
}

// Instance is one run of a component, with an ID of its own.
type Instance struct {
	// ID is the container's id, for Docker with the time of its start, or systemd's invocation
	// id; empty: never started.
	ID      string
	Running bool
	Exited  bool // it has ended, with or without a signal; neither: it is starting
	// Final means that it has exited and its supervisor does not start another one (Docker).
	Final     bool
	StartedAt time.Time
	// BackOff is how long the supervisor is expected to wait before it starts the next
	// instance, if this one ended now.
	BackOff time.Duration
	// Failing means that earlier instances exited without being asked to, so that the
	// supervisor restarted the component recently.
	Failing bool

	pid      uint32 // systemd
	restarts uint32 // systemd: how often it was restarted automatically
	detail   string // systemd, Docker: why it ended
	logPath  string // CRI, Docker
}

// CurrentInstance returns the newest instance of a component.
func (r *Runtime) CurrentInstance(ctx context.Context, c inventory.Component) (Instance, error) {
	switch c.Runtime {
	case inventory.StaticPod, inventory.DaemonSet:
		return r.currentContainer(ctx, c)
	case inventory.Systemd:
		i, err := r.currentUnit(ctx, c.Unit)
		if err == nil {
			r.noteMain(c, i)
		}
		return i, err
	case inventory.Docker:
		return r.currentDocker(ctx, c)
	default:
		return Instance{}, unknownRuntime(c)
	}
}

// StopInstance stops an instance; its supervisor then starts the next one. It returns when the
// instance has exited, and with Docker when the next one was started. If none runs, the kubelet
// is about to start one; systemd and Docker are asked to, since they may have stopped trying.
//
// etcd gets SIGTERM and all the time that ctx leaves, and is never killed. A unit has its own
// TimeoutStopSec. An API server is killed after [Runtime.GraceOf], and every other container
// after a short grace. A component that is a child of a unit which also runs others
// (Supervised) is refused: the control group of that unit includes etcd and the containers.
func (r *Runtime) StopInstance(ctx context.Context, c inventory.Component, i Instance) error {
	switch c.Runtime {
	case inventory.StaticPod, inventory.DaemonSet:
		return r.stopContainer(ctx, c, i, r.GraceOf(c))
	case inventory.Systemd:
		return r.restartUnit(ctx, c, i, r.unitGrace(c))
	case inventory.Docker:
		return r.restartDocker(ctx, c, r.dockerGrace(c))
	default:
		return unknownRuntime(c)
	}
}

// GraceOf is how long a component may take to exit before it is killed; 0: it is never killed.
// An API server continues to serve for its --shutdown-delay-duration, so that load balancers
// notice, and only then ends its requests.
func (r *Runtime) GraceOf(c inventory.Component) time.Duration {
	// How long a component that holds no state may take. The open watches of an API server would
	// keep it running for its whole usual 30 s, with its listener closed. Its grace period starts
	// when the listener closes.
	const short = 3 * time.Second
	switch c.Service {
	case certs.Etcd:
		return 0
	case certs.KubeAPIServer:
		return c.ShutdownDelay() + cmp.Or(r.Grace, short)
	}
	if !slices.Contains(certs.Services(), c.Service) {
		return time.Duration(c.GraceSeconds) * time.Second // no component: the pod's own limit
	}
	return short
}

// unitGrace is GraceOf for a unit: all components except the API server have the unit's own
// limit, and a unit whose main process is not the component is never killed.
func (r *Runtime) unitGrace(c inventory.Component) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.Service != certs.KubeAPIServer || !r.mains[c.Unit] {
		return 0
	}
	return r.GraceOf(c)
}

// noteMain notes a unit whose main process is the component's process in the scan. Later
// instances have other process IDs.
func (r *Runtime) noteMain(c inventory.Component, i Instance) {
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

// AwaitInstance waits for a running instance other than old, or for old itself if it had not
// started yet.
func (r *Runtime) AwaitInstance(ctx context.Context, c inventory.Component, old Instance) (Instance, error) {
	var last error
	for {
		now, err := r.CurrentInstance(ctx, c)
		if err == nil && now.Running && (now.ID != old.ID || !old.Running) {
			return now, nil
		}
		if err != nil && ctx.Err() == nil {
			last = err // the runtime itself may be restarting
		}
		if wait.SleepFor(ctx, wait.PollEvery) != nil {
			if last != nil {
				return Instance{}, fmt.Errorf("wait for %s to be started again: %w", c.Service, last)
			}
			return Instance{}, fmt.Errorf("wait for %s to be started again: %w", c.Service, ctx.Err())
		}
	}
}

// Close closes the connections.
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
		return fmt.Errorf("restart %s: it is a child process of unit %q, which also runs other components; restart that unit by hand, or use --restart=never", c.Service, c.Unit)
	}
	return fmt.Errorf("restart %s: its supervisor is not known; restart it by hand, or use --restart=never", c.Service)
}
