package kube

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

var _ fleet.Observer = (*Observer)(nil)

// Observer observes a node's components through the API server.
type Observer struct {
	Client kubernetes.Interface
}

// Ready waits until the node is Ready and its kubelet has renewed its Lease after the given
// time, by the node's clock. The Ready condition remains true for a while after a kubelet has
// stopped or its new certificate is refused; only the Lease shows that it has reached the API
// server again.
func (o *Observer) Ready(ctx context.Context, node string, after time.Time) error {
	for pause := (wait.Backoff{}); ; {
		missing := o.missingReadiness(ctx, node, after)
		if missing == nil {
			return nil
		}
		if waited := pause.WaitLonger(ctx); waited != nil {
			return fmt.Errorf("node %q: %w: %w", node, waited, missing)
		}
	}
}

func (o *Observer) missingReadiness(ctx context.Context, node string, after time.Time) error {
	ctx, cancel := attemptContext(ctx)
	defer cancel()
	lease, err := o.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read the kubelet's lease: %w", err)
	}
	if lease.Spec.RenewTime == nil || !lease.Spec.RenewTime.After(after) {
		return fmt.Errorf("its kubelet has not reported since %s", utcText(after))
	}
	n, err := o.Client.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read node: %w", err)
	}
	if d := kubenode.Describe(n); !d.Ready {
		return fmt.Errorf("it is NotReady: %s", d.NotReadyWhy)
	}
	return nil
}

// Restarts returns the runs of a node's control-plane (and kube-proxy) containers, by
// service. A component that does not run as a pod is not among them.
func (o *Observer) Restarts(ctx context.Context, node string) (map[string]fleet.Restart, error) {
	pods, err := o.Client.CoreV1().Pods(metav1.NamespaceSystem).List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + node})
	if err != nil {
		return nil, fmt.Errorf("list the pods of node %q: %w", node, err)
	}
	out := map[string]fleet.Restart{}
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Spec.NodeName != node {
			continue
		}
		for _, c := range p.Status.ContainerStatuses {
			service, ok := serviceOf(p, c.Name)
			if !ok {
				continue
			}
			run := fleet.Restart{ContainerID: c.ContainerID, Count: c.RestartCount}
			if r := c.State.Running; r != nil {
				run.StartedAt = r.StartedAt.Time
			}
			if t := cmp.Or(c.State.Terminated, c.LastTerminationState.Terminated); t != nil {
				run.Reason = fmt.Sprintf("%s, exit code %d", t.Reason, t.ExitCode)
			}
			out[string(service)] = run
		}
	}
	return out, nil
}

// serviceOf returns the service of a container, by its name or, where that is unusual, by the
// label that static pods of a control plane have.
func serviceOf(p *corev1.Pod, container string) (certs.Service, bool) {
	for _, name := range []string{container, p.Labels["component"]} {
		if s := certs.Service(name); s != certs.Admin && slices.Contains(certs.Services(), s) {
			return s, true
		}
	}
	return "", false
}
