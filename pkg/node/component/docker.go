package component

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// maxDockerAnswer limits the bytes that are read of an answer.
const maxDockerAnswer = 4 << 20

// dockerClient speaks with dockerd, in the newest version of its API that dockerd has. Those
// parts that are used here are the same in all versions.
type dockerClient struct {
	http   *http.Client
	prefix string // "/v1.41"
}

// dockerState is the part of dockerd's description of a container that is used here.
type dockerState struct {
	ID           string `json:"Id"`
	RestartCount int
	LogPath      string
	State        struct {
		Status                            string
		Running, Paused, Restarting, Dead bool
		Pid, ExitCode                     int
		Error                             string
		StartedAt                         time.Time
	}
}

// dockerError is an answer of dockerd that refuses a request.
type dockerError struct {
	code    int
	message string
}

func (e *dockerError) Error() string {
	return fmt.Sprintf("Docker answered with status %d: %s", e.code, e.message)
}

// dialDocker returns the client for dockerd's socket. Every request uses a new connection, since
// dockerd may be restarted in between.
func (r *Runtime) dialDocker(ctx context.Context) (*dockerClient, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.docker != nil {
		return r.docker, nil
	}
	if r.DockerSocket == "" {
		return nil, errors.New("Docker's socket is not known: there is no /run/docker.sock") //nolint:staticcheck // a name
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		socket, err := r.Root.LocalPath(r.DockerSocket)
		if err != nil {
			return nil, err
		}
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	client := &dockerClient{http: &http.Client{Transport: transport}}
	version, err := client.apiVersion(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to Docker through %q: %w", r.DockerSocket, err)
	}
	client.prefix = "/v" + version
	r.docker = client
	return client, nil
}

var versionPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^\d+\.\d+$`) })

// apiVersion is the newest version of its API that dockerd has.
func (d *dockerClient) apiVersion(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	answer, err := d.callAPI(ctx, http.MethodGet, "/version")
	if err != nil {
		return "", err
	}
	var v struct {
		APIVersion string `json:"ApiVersion"`
	}
	if err := json.Unmarshal(answer, &v); err != nil || !versionPattern().MatchString(v.APIVersion) {
		return "", fmt.Errorf("its API has no version, but %.40q", answer)
	}
	return v.APIVersion, nil
}

// callAPI sends a request without a body and returns the answer.
func (d *dockerClient) callAPI(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://docker"+d.prefix+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	answer, err := d.http.Do(request)
	if err != nil {
		var noURL *url.Error
		if errors.As(err, &noURL) {
			err = noURL.Err // the address is no real one
		}
		return nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxDockerAnswer))
	if err != nil {
		return nil, err
	}
	if answer.StatusCode >= http.StatusBadRequest {
		var refused struct{ Message string }
		if json.Unmarshal(body, &refused) != nil || refused.Message == "" {
			refused.Message = string(bytes.TrimSpace(body[:min(len(body), lastLogLength)]))
		}
		return nil, &dockerError{answer.StatusCode, MaskSecrets(refused.Message)}
	}
	return body, nil
}

// inspectContainer returns dockerd's description of a container.
func (d *dockerClient) inspectContainer(ctx context.Context, id string) (dockerState, error) {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	var s dockerState
	answer, err := d.callAPI(ctx, http.MethodGet, "/containers/"+url.PathEscape(id)+"/json")
	if err == nil {
		err = json.Unmarshal(answer, &s)
	}
	if err == nil && s.ID != id {
		err = fmt.Errorf("Docker described container %.12q", s.ID) //nolint:staticcheck // a name
	}
	return s, err
}

// restartContainer has dockerd stop a container and start it again, and returns when both are
// done. dockerd completes it even if this process ends. A container that does not run is
// started.
func (d *dockerClient) restartContainer(ctx context.Context, id string, grace time.Duration) error {
	seconds := int(math.Ceil(grace.Seconds()))
	_, err := d.callAPI(ctx, http.MethodPost, fmt.Sprintf("/containers/%s/restart?t=%d", url.PathEscape(id), seconds))
	return err
}

// currentDocker returns the instance of a component in a Docker container. The container stays
// the same when it is restarted, so its start is part of the instance's ID.
func (r *Runtime) currentDocker(ctx context.Context, c inventory.Component) (Instance, error) {
	client, err := r.dialDocker(ctx)
	if err != nil {
		return Instance{}, err
	}
	s, err := client.inspectContainer(ctx, c.ContainerID)
	if err != nil {
		return Instance{}, fmt.Errorf("read state of container %q: %w", c.ContainerName, err)
	}
	i := Instance{StartedAt: s.State.StartedAt, logPath: s.LogPath}
	if s.State.StartedAt.Year() > 1 {
		i.ID = s.ID + "@" + s.State.StartedAt.UTC().Format(time.RFC3339Nano)
	}
	// A container that waits for its restart counts as running for Docker.
	i.Running = s.State.Running && !s.State.Restarting && !s.State.Paused && !s.State.Dead && s.State.Pid > 0
	i.Exited = s.State.Restarting || !s.State.Running && i.ID != ""
	i.Final = i.Exited && !s.State.Restarting
	age := r.now().Sub(s.State.StartedAt)
	if !i.Final {
		// The pause of Docker's restart policies doubles with each restart of a container that did
		// not run for ten seconds.
		i.BackOff = 100 * time.Millisecond
		if s.State.Restarting || age < 10*time.Second {
			i.BackOff = min(i.BackOff<<min(s.RestartCount, 16), time.Minute)
		}
	}
	i.Failing = i.Running && s.RestartCount > 0 && age < 2*longestBackOff
	i.detail = fmt.Sprintf("container %s is %s, exit code %d", c.ContainerName, s.State.Status, s.State.ExitCode)
	if s.State.Error != "" {
		i.detail += ": " + MaskSecrets(s.State.Error)
	}
	return i, nil
}

// restartDocker restarts a component in a Docker container. With grace 0 it is never killed,
// and the call fails if ctx ends before it has exited.
func (r *Runtime) restartDocker(ctx context.Context, c inventory.Component, grace time.Duration) error {
	client, err := r.dialDocker(ctx)
	if err != nil {
		return err
	}
	ctx, cancel, timeout := boundStop(ctx, grace)
	defer cancel()
	if err := client.restartContainer(ctx, c.ContainerID, timeout); err != nil {
		return fmt.Errorf("restart container %q of %s: %w", c.ContainerName, c.Service, err)
	}
	return nil
}

// dockerGrace is GraceOf for a Docker container.
func (r *Runtime) dockerGrace(c inventory.Component) time.Duration {
	if c.Service == certs.Kubelet {
		return 10 * time.Second // Docker's own default
	}
	return r.GraceOf(c)
}
