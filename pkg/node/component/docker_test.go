package component

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

var containerID = strings.Repeat("e", 64)

// etcdContainer is etcd as RKE1 runs it.
var etcdContainer = inventory.Component{Service: certs.Etcd, Runtime: inventory.Docker, ContainerID: containerID, ContainerName: "etcd"}

// dockerd answers as the documentation of Docker's API says, for one container.
type dockerd struct {
	mu       sync.Mutex
	state    string        // of the container, as JSON
	restarts []string      // the requests
	started  time.Duration // the container's start, after a fixed time
	status   int           // of the answer to a restart; 0: it succeeds
	message  string
	hang     bool // a restart does not end
}

func (d *dockerd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	answer := func(status int, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintln(w, text)
	}
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/version":
		answer(http.StatusOK, `{"Version":"20.10.24","ApiVersion":"1.41","MinAPIVersion":"1.12"}`)
	case r.Method == http.MethodGet && r.URL.Path == "/v1.41/containers/"+containerID+"/json":
		start := time.Date(2026, 1, 1, 0, 0, 0, 123456789, time.UTC).Add(d.started)
		answer(http.StatusOK, fmt.Sprintf(`{"Id":%q,"Name":"/etcd","State":{%s,"StartedAt":%q},"RestartCount":3,"LogPath":"/log.json"}`,
			containerID, d.state, start.Format(time.RFC3339Nano)))
	case r.Method == http.MethodPost && r.URL.Path == "/v1.41/containers/"+containerID+"/restart":
		d.restarts = append(d.restarts, r.URL.RawQuery)
		if d.hang {
			<-r.Context().Done()
			return
		}
		if d.status != 0 {
			answer(d.status, d.message)
			return
		}
		d.started += time.Hour
		d.state = running
		w.WriteHeader(http.StatusNoContent)
	default:
		answer(http.StatusNotFound, `{"message":"No such container: `+r.URL.Path+`"}`)
	}
}

const (
	running    = `"Status":"running","Running":true,"Paused":false,"Restarting":false,"Dead":false,"Pid":12,"ExitCode":0`
	restarting = `"Status":"restarting","Running":true,"Paused":false,"Restarting":true,"Dead":false,"Pid":0,"ExitCode":1`
	exited     = `"Status":"exited","Running":false,"Paused":false,"Restarting":false,"Dead":false,"Pid":0,"ExitCode":2,"Error":"no such file"`
	paused     = `"Status":"paused","Running":true,"Paused":true,"Restarting":false,"Dead":false,"Pid":12,"ExitCode":0`
)

// newDocker serves d on a socket below a root of its own.
func newDocker(t *testing.T, d *dockerd) *Runtime {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "run"), 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", filepath.Join(root, "run/docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(d)
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	now := func() time.Time { return time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC) }
	r := &Runtime{Root: hostfs.Root(root), DockerSocket: "/run/docker.sock", Now: now}
	t.Cleanup(r.Close)
	return r
}

// TestRestartOfADockerContainer: the container's id stays, and its new start is another instance.
func TestRestartOfADockerContainer(t *testing.T) {
	d := &dockerd{state: running}
	r := newDocker(t, d)
	old, err := r.CurrentInstance(t.Context(), etcdContainer)
	if err != nil || !old.Running || old.ID == "" {
		t.Fatalf("%+v %v", old, err)
	}
	if err := r.StopInstance(t.Context(), etcdContainer, old); err != nil {
		t.Fatal(err)
	}
	now, err := r.AwaitInstance(t.Context(), etcdContainer, old)
	if err != nil || now.ID == old.ID || !now.StartedAt.After(old.StartedAt) {
		t.Errorf("%+v %v, after %+v", now, err, old)
	}
}

// TestAnOldStartIsNoRestart: without a new start time, nothing was restarted.
func TestAnOldStartIsNoRestart(t *testing.T) {
	r := newDocker(t, &dockerd{state: running})
	old, err := r.CurrentInstance(t.Context(), etcdContainer)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*wait.PollEvery)
	defer cancel()
	if now, err := r.AwaitInstance(ctx, etcdContainer, old); err == nil {
		t.Errorf("restarted: %+v", now)
	}
}

func TestStatesOfADockerContainer(t *testing.T) {
	for name, test := range map[string]struct {
		state                           string
		running, exited, final, failing bool
	}{
		"running":                   {state: running, running: true, failing: true},
		"waiting for its restart":   {state: restarting, exited: true},
		"exited without a policy":   {state: exited, exited: true, final: true},
		"paused: it serves nothing": {state: paused},
	} {
		t.Run(name, func(t *testing.T) {
			i, err := newDocker(t, &dockerd{state: test.state}).CurrentInstance(t.Context(), etcdContainer)
			if err != nil || i.Running != test.running || i.Exited != test.exited || i.Final != test.final || i.Failing != test.failing {
				t.Errorf("%+v %v", i, err)
			}
			if want := 800 * time.Millisecond; !test.final && i.BackOff != want {
				t.Errorf("pause %s, want %s after three restarts", i.BackOff, want)
			}
		})
	}
}

// TestGraceOfADockerContainer: etcd is never killed, and the API server not before its grace.
func TestGraceOfADockerContainer(t *testing.T) {
	for service, want := range map[certs.Service]string{
		certs.Etcd: "t=86400", certs.KubeAPIServer: "t=28", certs.KubeScheduler: "t=3", certs.Kubelet: "t=10", "container nginx": "t=40",
	} {
		d := &dockerd{state: running}
		r := newDocker(t, d)
		c := etcdContainer
		c.Service = service
		c.GraceSeconds = 40 // of a container that is no component
		c.Args = []string{"--shutdown-delay-duration=25s"}
		if err := r.StopInstance(t.Context(), c, Instance{Running: true}); err != nil {
			t.Fatal(err)
		}
		if len(d.restarts) != 1 || d.restarts[0] != want {
			t.Errorf("%s: %q, want %q", service, d.restarts, want)
		}
	}
}

// TestAStoppedDockerContainerIsStarted: a process that ended between stop and start may have
// left one.
func TestAStoppedDockerContainerIsStarted(t *testing.T) {
	d := &dockerd{state: exited}
	r := newDocker(t, d)
	old, err := r.CurrentInstance(t.Context(), etcdContainer)
	if err != nil || old.Running {
		t.Fatalf("%+v %v", old, err)
	}
	if err := r.StopInstance(t.Context(), etcdContainer, old); err != nil {
		t.Fatal(err)
	}
	if now, err := r.AwaitInstance(t.Context(), etcdContainer, old); err != nil || !now.Running {
		t.Errorf("%+v %v", now, err)
	}
}

func TestRefusalsOfDocker(t *testing.T) {
	for name, test := range map[string]struct {
		status  int
		message string
		want    string
	}{
		"no container":    {404, `{"message":"No such container: x"}`, "status 404: No such container: x"},
		"being removed":   {409, `{"message":"container is marked for removal"}`, "status 409: container is marked for removal"},
		"it cannot start": {500, `{"message":"Cannot restart container x: OCI runtime create failed"}`, "status 500: Cannot restart container x: OCI runtime create failed"},
		"no JSON":         {500, "broken", "status 500: broken"},
		"a key":           {500, `{"message":"-----BEGIN EC PRIVATE KEY-----\nabc"}`, "status 500: [masked]"},
	} {
		t.Run(name, func(t *testing.T) {
			d := &dockerd{state: running, status: test.status, message: test.message}
			err := newDocker(t, d).StopInstance(t.Context(), etcdContainer, Instance{Running: true})
			want := `restart container "etcd" of etcd: Docker answered with ` + test.want
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
		})
	}
}

// TestDockerThatIsAlreadyDone: 304 is no error.
func TestDockerThatIsAlreadyDone(t *testing.T) {
	d := &dockerd{state: running, status: http.StatusNotModified}
	if err := newDocker(t, d).StopInstance(t.Context(), etcdContainer, Instance{Running: true}); err != nil {
		t.Error(err)
	}
}

func TestDockerCannotBeAsked(t *testing.T) {
	other := etcdContainer
	other.ContainerID = strings.Repeat("f", 64)
	if _, err := newDocker(t, &dockerd{state: running}).CurrentInstance(t.Context(), other); err == nil || !strings.Contains(err.Error(), "No such container") {
		t.Errorf("a container that Docker does not know: %v", err)
	}
	r := &Runtime{Root: hostfs.Root(t.TempDir()), DockerSocket: "/run/docker.sock"}
	if _, err := r.CurrentInstance(t.Context(), etcdContainer); err == nil || !strings.Contains(err.Error(), `connect to Docker through "/run/docker.sock"`) {
		t.Errorf("no socket: %v", err)
	}
	r.DockerSocket = ""
	if _, err := r.CurrentInstance(t.Context(), etcdContainer); err == nil || !strings.Contains(err.Error(), "not known") {
		t.Errorf("no socket known: %v", err)
	}
}

// TestADockerContainerThatDoesNotExit: the call ends with its deadline.
func TestADockerContainerThatDoesNotExit(t *testing.T) {
	r := newDocker(t, &dockerd{state: running, hang: true})
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := r.StopInstance(ctx, etcdContainer, Instance{Running: true}); err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("%v", err)
	}
}

func TestLastLogOfADockerContainer(t *testing.T) {
	r := newDocker(t, &dockerd{state: exited})
	if got := r.LastLog(t.Context(), etcdContainer); len(got) != 1 || got[0] != "container etcd is exited, exit code 2: no such file" {
		t.Errorf("without a log: %q", got)
	}
	local := filepath.Join(string(r.Root), "log.json")
	line := `{"log":"E0101 key values mismatch\n","stream":"stderr","time":"2026-01-01T00:00:00Z"}` + "\n"
	if err := os.WriteFile(local, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := r.LastLog(t.Context(), etcdContainer); len(got) != 1 || got[0] != "E0101 key values mismatch" {
		t.Errorf("with a log: %q", got)
	}
}
