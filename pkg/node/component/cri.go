package component

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// The labels that the kubelet gives to its containers (k8s.io/kubelet/pkg/types).
const (
	labelPodName       = "io.kubernetes.pod.name"
	labelPodNamespace  = "io.kubernetes.pod.namespace"
	labelContainerName = "io.kubernetes.container.name"
)

type criClient struct {
	conn *grpc.ClientConn
	cri.RuntimeServiceClient
}

func (r *Runtime) dialCRI() (*criClient, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cri != nil {
		return r.cri, nil
	}
	if r.CRISocket == "" {
		return nil, errors.New("the container runtime's socket is not known; set containerRuntimeEndpoint in the kubelet's configuration")
	}
	socket, err := r.Root.LocalPath(r.CRISocket)
	if err != nil {
		return nil, err
	}
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, fmt.Errorf("connect to container runtime %q: %w", r.CRISocket, err)
	}
	r.cri = &criClient{conn: conn, RuntimeServiceClient: cri.NewRuntimeServiceClient(conn)}
	return r.cri, nil
}

// listContainers returns a component's containers in every state, newest first.
func (r *Runtime) listContainers(ctx context.Context, c inventory.Component) ([]*cri.Container, error) {
	client, err := r.dialCRI()
	if err != nil {
		return nil, err
	}
	labels := map[string]string{labelContainerName: c.ContainerName}
	if c.PodNamespace != "" {
		labels[labelPodNamespace] = c.PodNamespace
	}
	list, err := client.ListContainers(ctx, &cri.ListContainersRequest{Filter: &cri.ContainerFilter{LabelSelector: labels}})
	if err != nil {
		return nil, fmt.Errorf("list containers of %s: %w", c.Service, err)
	}
	var out []*cri.Container
	for _, container := range list.Containers {
		if r.isPodOf(container.Labels[labelPodName], c) {
			out = append(out, container)
		}
	}
	slices.SortFunc(out, func(a, b *cri.Container) int { return int(b.CreatedAt - a.CreatedAt) })
	return out, nil
}

// isPodOf reports whether a pod name of the runtime is that of the component's pod. The kubelet
// appends the node's name to the name of a static pod.
func (r *Runtime) isPodOf(name string, c inventory.Component) bool {
	return c.PodName == "" || name == c.PodName || name == c.PodName+"-"+r.Node
}

func (r *Runtime) currentContainer(ctx context.Context, c inventory.Component) (Instance, error) {
	list, err := r.listContainers(ctx, c)
	if err != nil || len(list) == 0 {
		return Instance{}, err
	}
	status, err := r.containerStatus(ctx, list[0].Id)
	if err != nil {
		return Instance{}, err
	}
	i := Instance{
		ID:        list[0].Id,
		Running:   status.State == cri.ContainerState_CONTAINER_RUNNING,
		Exited:    status.State == cri.ContainerState_CONTAINER_EXITED,
		StartedAt: time.Unix(0, status.StartedAt),
		logPath:   status.LogPath,
	}
	b := backOff{now: r.now(), started: time.Unix(0, status.CreatedAt), attempt: list[0].GetMetadata().GetAttempt()}
	if len(list) > 1 {
		// It may have been removed since; the prediction is coarser then.
		if before, err := r.containerStatus(ctx, list[1].Id); err == nil && before.FinishedAt > 0 {
			b.previousEnded = time.Unix(0, before.FinishedAt)
		}
	}
	b.previousEnded = r.rememberEnd(list[0].Id, b.previousEnded)
	i.BackOff = b.predictWait()
	// The kubelet waits only from the second restart in a short time on.
	i.Failing = i.BackOff > FirstBackOff
	return i, nil
}

// rememberEnd keeps the time at which the previous container ended. The kubelet removes that
// container as soon as this one has ended as well. The number of attempts, which counts all
// restarts, is not enough for a prediction then.
func (r *Runtime) rememberEnd(id string, previousEnded time.Time) time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	if previousEnded.IsZero() {
		return r.previousEnded[id]
	}
	if r.previousEnded == nil {
		r.previousEnded = map[string]time.Time{}
	}
	r.previousEnded[id] = previousEnded
	return previousEnded
}

func (r *Runtime) containerStatus(ctx context.Context, id string) (*cri.ContainerStatus, error) {
	client, err := r.dialCRI()
	if err != nil {
		return nil, err
	}
	answer, err := client.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
	if err != nil {
		return nil, fmt.Errorf("ask for the status of container %.12s: %w", id, err)
	}
	if answer.Status == nil {
		return nil, fmt.Errorf("ask for the status of container %.12s: empty answer", id)
	}
	return answer.Status, nil
}

// stopContainer stops a container. With grace 0 it is never killed, and the call fails if ctx
// ends before it has exited.
func (r *Runtime) stopContainer(ctx context.Context, c inventory.Component, i Instance, grace time.Duration) error {
	if !i.Running {
		return nil
	}
	client, err := r.dialCRI()
	if err != nil {
		return err
	}
	ctx, cancel, timeout := boundStop(ctx, grace)
	defer cancel()
	_, err = client.StopContainer(ctx, &cri.StopContainerRequest{ContainerId: i.ID, Timeout: int64(timeout.Seconds())})
	if err != nil {
		return fmt.Errorf("stop container %.12s of %s: %w", i.ID, c.Service, err)
	}
	return nil
}

// boundStop returns after which time the runtime kills a container that does not exit, and bounds
// the call of the runtime. With grace 0 it is never killed, and only ctx bounds the call.
func boundStop(ctx context.Context, grace time.Duration) (bounded context.Context, cancel context.CancelFunc, timeout time.Duration) {
	if grace <= 0 {
		// A grace period that never expires: the runtime would send SIGKILL after it, but the
		// deadline of the call is earlier.
		return ctx, func() {}, 24 * time.Hour
	}
	bounded, cancel = context.WithTimeout(ctx, grace+nodeapi.KillMargin)
	return bounded, cancel, grace
}
