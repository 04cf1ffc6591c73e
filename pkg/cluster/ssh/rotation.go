package ssh

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Open starts the process of a rotation on a host, or finds it running.
func (h *Hosts) Open(ctx context.Context, rotation string, step plan.Step) (fleet.Session, error) {
	host := h.hostOf(step.Node)
	if host == nil {
		return nil, fmt.Errorf("node %q is not among the hosts", step.Node)
	}
	var answer struct {
		Started bool `json:"started"`
	}
	if err := host.call(ctx, &answer, nodeapi.CommandStart, "--node-name="+step.Node, "--rotation="+rotation); err != nil {
		return nil, err
	}
	return &session.Session{Node: step.Node, Rotation: rotation, Process: host, Closes: true}, nil
}

// Close ends the processes of a rotation; with rotation "" those of every rotation.
func (h *Hosts) Close(ctx context.Context, rotation string) (int, error) {
	var mu sync.Mutex
	count := 0
	err := eachOf(h.hosts, func(_ int, host *host) error {
		args := []string{nodeapi.CommandEnd}
		if rotation != "" {
			args = append(args, "--rotation="+rotation)
		}
		var answer struct {
			Ended bool `json:"ended"`
		}
		if err := host.call(ctx, &answer, args...); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		if answer.Ended {
			count++
		}
		return nil
	})
	return count, err
}

// Restarts returns none: nothing counts them without the API.
func (h *Hosts) Restarts(context.Context, string) (map[string]fleet.Restart, error) { return nil, nil }

// Ready waits until the API server has the node as Ready and its kubelet has renewed its Lease
// after the given time. The node asks with its kubelet's own identity.
func (h *Hosts) Ready(ctx context.Context, node string, after time.Time) error {
	host := h.hostOf(node)
	if host == nil {
		return fmt.Errorf("node %q is not among the hosts", node)
	}
	for pause := (wait.Backoff{}); ; {
		var answer nodeapi.Readiness
		err := host.call(ctx, &answer, nodeapi.CommandReady, "--node-name="+node)
		switch {
		case err != nil:
		case answer.Ready && answer.RenewTime.After(after):
			return nil
		case answer.Ready:
			err = fmt.Errorf("its kubelet has not reported since %s", after.UTC().Format(time.RFC3339))
		default:
			err = fmt.Errorf("it is NotReady: %s", answer.Reason)
		}
		if waited := pause.WaitLonger(ctx); waited != nil {
			return fmt.Errorf("node %q: %w: %w", node, waited, err)
		}
	}
}
