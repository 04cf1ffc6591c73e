package component

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// runtimeService is a container runtime with a kubelet: stopped containers are started again
// under another ID.
type runtimeService struct {
	cri.UnimplementedRuntimeServiceServer

	mu         sync.Mutex
	containers []*cri.Container
	stops      []*cri.StopContainerRequest
	finished   map[string]int64
	hang       context.CancelFunc // StopContainer calls it and returns when its caller has given up; nil: it does not hang
}

func (s *runtimeService) addContainer(id, pod, namespace, container string, created int64, state cri.ContainerState) {
	s.containers = append(s.containers, &cri.Container{
		Id: id, CreatedAt: created, State: state, Metadata: &cri.ContainerMetadata{Name: container},
		Labels: map[string]string{labelPodName: pod, labelPodNamespace: namespace, labelContainerName: container},
	})
}

func (s *runtimeService) ListContainers(_ context.Context, r *cri.ListContainersRequest) (*cri.ListContainersResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &cri.ListContainersResponse{}
	for _, c := range s.containers {
		matches := true
		for k, v := range r.GetFilter().GetLabelSelector() {
			matches = matches && c.Labels[k] == v
		}
		if matches {
			out.Containers = append(out.Containers, c)
		}
	}
	return out, nil
}

func (s *runtimeService) ContainerStatus(_ context.Context, r *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.containers {
		if c.Id == r.ContainerId {
			return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{Id: c.Id, State: c.State, CreatedAt: c.CreatedAt,
				StartedAt: c.CreatedAt, FinishedAt: s.finished[c.Id], LogPath: "/var/log/pods/" + c.Id + ".log"}}, nil
		}
	}
	return nil, errors.New("no such container")
}

func (s *runtimeService) StopContainer(ctx context.Context, r *cri.StopContainerRequest) (*cri.StopContainerResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stops = append(s.stops, r)
	if s.hang != nil {
		s.hang()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	for _, c := range s.containers {
		if c.Id == r.ContainerId {
			c.State = cri.ContainerState_CONTAINER_EXITED
			l := c.Labels
			s.addContainer(c.Id+"+", l[labelPodName], l[labelPodNamespace], l[labelContainerName], c.CreatedAt+1, cri.ContainerState_CONTAINER_RUNNING)
			return &cri.StopContainerResponse{}, nil
		}
	}
	return nil, errors.New("no such container")
}

// newRuntime serves s on a socket below a root of its own.
func newRuntime(t *testing.T, s *runtimeService) *Runtime {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(root, "run/cri.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(server, s)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	r := &Runtime{Root: hostfs.Root(root), Node: "cp1", CRISocket: "/run/cri.sock"}
	t.Cleanup(r.Close)
	return r
}

var etcdPod = inventory.Component{Service: certs.Etcd, Runtime: inventory.StaticPod, ContainerName: "etcd", PodName: "etcd", PodNamespace: "kube-system"}

func TestAStaticPodIsFoundAmongItsLikes(t *testing.T) {
	s := &runtimeService{}
	const running, exited = cri.ContainerState_CONTAINER_RUNNING, cri.ContainerState_CONTAINER_EXITED
	s.addContainer("older", "etcd-cp1", "kube-system", "etcd", 1, exited)
	s.addContainer("ours", "etcd-cp1", "kube-system", "etcd", 2, running)
	s.addContainer("elsewhere", "etcd-cp1", "default", "etcd", 3, running)
	s.addContainer("another", "etcd-cp10", "kube-system", "etcd", 4, running)
	s.addContainer("sidecar", "etcd-cp1", "kube-system", "metrics", 5, running)
	i, err := newRuntime(t, s).CurrentInstance(t.Context(), etcdPod)
	if err != nil || i.ID != "ours" || !i.Running || i.Exited {
		t.Errorf("found %+v, %v", i, err)
	}
}

// The kubelet removes the container before one that exits. The time of its end is kept: the
// large number of attempts alone would predict a pause of minutes.
func TestAPauseIsPredictedFromAnEarlierContainer(t *testing.T) {
	now := time.Now()
	s := &runtimeService{finished: map[string]int64{"before": now.Add(-12 * time.Second).UnixNano()}}
	s.addContainer("before", "etcd-cp1", "kube-system", "etcd", now.Add(-20*time.Second).UnixNano(), cri.ContainerState_CONTAINER_EXITED)
	s.addContainer("newest", "etcd-cp1", "kube-system", "etcd", now.Add(-11*time.Second).UnixNano(), cri.ContainerState_CONTAINER_RUNNING)
	s.containers[1].Metadata.Attempt = 9
	r := newRuntime(t, s)
	for _, kept := range []bool{true, false} {
		if !kept {
			s.mu.Lock()
			s.containers = s.containers[1:]
			s.mu.Unlock()
		}
		i, err := r.CurrentInstance(t.Context(), etcdPod)
		if err != nil || i.BackOff != 10*time.Second {
			t.Errorf("the one before is there: %v; a pause of %s, %v, want 10s", kept, i.BackOff, err)
		}
	}
}

func TestStoppingAContainer(t *testing.T) {
	for _, test := range []struct {
		service certs.Service
		grace   time.Duration
	}{
		{certs.KubeAPIServer, 3 * time.Second},
		{certs.KubeScheduler, 3 * time.Second},
		{certs.Etcd, 24 * time.Hour}, // so never
	} {
		t.Run(string(test.service), func(t *testing.T) {
			s := &runtimeService{}
			s.addContainer("first", "pod-cp1", "kube-system", "c", 1, cri.ContainerState_CONTAINER_RUNNING)
			r := newRuntime(t, s)
			c := inventory.Component{Service: test.service, Runtime: inventory.StaticPod, ContainerName: "c", PodName: "pod", PodNamespace: "kube-system"}
			old, err := r.CurrentInstance(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			if err := r.StopInstance(t.Context(), c, old); err != nil {
				t.Fatal(err)
			}
			if len(s.stops) != 1 || s.stops[0].Timeout != int64(test.grace.Seconds()) {
				t.Errorf("stopped by %v, want a grace of %s", s.stops, test.grace)
			}
			fresh, err := r.AwaitInstance(t.Context(), c, old)
			if err != nil || fresh.ID != "first+" {
				t.Errorf("started again as %+v, %v", fresh, err)
			}
		})
	}
}

func TestEtcdThatDoesNotExitIsNotKilled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s := &runtimeService{hang: cancel}
	s.addContainer("first", "etcd-cp1", "kube-system", "etcd", 1, cri.ContainerState_CONTAINER_RUNNING)
	r := newRuntime(t, s)
	err := r.StopInstance(ctx, etcdPod, Instance{ID: "first", Running: true})
	if err == nil || !strings.Contains(err.Error(), "stop container first of etcd") {
		t.Errorf("error %v", err)
	}
	s.mu.Lock() // free again when the runtime has noticed the cancelled call
	defer s.mu.Unlock()
	if len(s.stops) != 1 {
		t.Errorf("%d calls to stop it, want the one without a kill", len(s.stops))
	}
}

func TestAStoppedContainerNeedsNoStop(t *testing.T) {
	s := &runtimeService{}
	if err := newRuntime(t, s).StopInstance(t.Context(), etcdPod, Instance{ID: "x"}); err != nil || len(s.stops) > 0 {
		t.Errorf("%v, %v", err, s.stops)
	}
}

func TestARuntimeThatIsNotThere(t *testing.T) {
	r := &Runtime{Root: hostfs.Root(t.TempDir()), CRISocket: "/run/none.sock"}
	defer r.Close()
	if _, err := r.CurrentInstance(t.Context(), etcdPod); err == nil || !strings.Contains(err.Error(), "list containers of etcd") {
		t.Errorf("error %v", err)
	}
	r = &Runtime{Root: "/"}
	if _, err := r.CurrentInstance(t.Context(), etcdPod); err == nil || !strings.Contains(err.Error(), "containerRuntimeEndpoint") {
		t.Errorf("error %v, want a hint", err)
	}
	unknown := inventory.Component{Service: certs.KubeProxy, Runtime: inventory.None}
	if err := r.StopInstance(t.Context(), unknown, Instance{}); err == nil || !strings.Contains(err.Error(), "--restart=never") {
		t.Errorf("error %v, want a hint", err)
	}
}

// A static pod counts as failing when the kubelet has waited before it started it again.
func TestFailingPod(t *testing.T) {
	now := time.Now()
	for waited, want := range map[time.Duration]bool{time.Second: false, 11 * time.Second: true} {
		s := &runtimeService{finished: map[string]int64{"before": now.Add(-20*time.Second - waited).UnixNano()}}
		s.addContainer("before", "kube-vip-cp1", "kube-system", "vip", now.Add(-time.Minute).UnixNano(), cri.ContainerState_CONTAINER_EXITED)
		s.addContainer("newest", "kube-vip-cp1", "kube-system", "vip", now.Add(-20*time.Second).UnixNano(), cri.ContainerState_CONTAINER_RUNNING)
		s.containers[1].Metadata.Attempt = 4
		vip := inventory.Component{Runtime: inventory.StaticPod, ContainerName: "vip", PodName: "kube-vip", PodNamespace: "kube-system"}
		if i, err := newRuntime(t, s).CurrentInstance(t.Context(), vip); err != nil || i.Failing != want {
			t.Errorf("after %s: failing %v, %v", waited, i.Failing, err)
		}
	}
}
