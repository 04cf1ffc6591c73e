package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// lab is the cluster under test.
type lab struct {
	name  string
	bin   string // directory of the built programs
	nodes []machine
	rate  int // requests a second of each client
	// identity is the administrator's, in TLS.
	identity *tls.Config
}

// machine is one node.
type machine struct {
	Name string `json:"name"`
	Role string `json:"role"`
	IP   string `json:"ip"`
}

func openLab(ctx context.Context, name, bin string) (*lab, error) {
	l := &lab{name: name}
	var err error
	if l.bin, err = filepath.Abs(bin); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, filepath.Join(l.bin, "lab"), "status", "--name", name).Output()
	if err != nil {
		return nil, fmt.Errorf("ask for the state of lab %q: %w", name, err)
	}
	var status struct {
		Nodes []machine `json:"nodes"`
	}
	if err := json.Unmarshal(out, &status); err != nil {
		return nil, fmt.Errorf("read the state of lab %q: %w", name, err)
	}
	l.nodes = status.Nodes
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err == nil {
		l.identity, err = rest.TLSConfigFor(config)
	}
	if err != nil {
		return nil, fmt.Errorf("read KUBECONFIG: %w", err)
	}
	return l, nil
}

func (l *lab) String() string {
	n := len(l.controlPlanes())
	return fmt.Sprintf("Lab %q: %d control planes, %d workers, on %d cores that all of them and the clients share", l.name, n, len(l.nodes)-n, runtime.NumCPU())
}

func (l *lab) controlPlanes() []machine {
	var out []machine
	for _, n := range l.nodes {
		if n.Role == "control-plane" {
			out = append(out, n)
		}
	}
	return out
}

// on runs a shell command on a node and returns its standard output.
func (l *lab) on(ctx context.Context, node, script string, stdin io.Reader) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, "lab"), "exec", "--name", l.name, node, "--", "/bin/bash", "-ec", script)
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stderr = stdin, &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("on node %q: %w: %s", node, err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// command is a program that finds the plugin on its PATH, as kubectl does.
func (l *lab) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH="+l.bin+":"+os.Getenv("PATH"))
	return cmd
}

// settled is for how long the cluster must have been healthy before a measurement.
const settled = 15 * time.Second

// prepare makes measurements comparable: the kubelets forget for how long they would
// hold back a component that restarted a short while ago, as they do after ten minutes
// without a restart, and everything is healthy.
func (l *lab) prepare(ctx context.Context) error {
	var all sync.WaitGroup
	failed := make([]error, len(l.nodes))
	for i, n := range l.nodes {
		all.Go(func() {
			_, failed[i] = l.on(ctx, n.Name, "systemctl restart kubelet && until curl -sf -o /dev/null http://127.0.0.1:10248/healthz; do sleep 0.2; done", nil)
		})
	}
	all.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	for well := time.Now(); time.Since(well) < settled; {
		if !l.healthy(ctx) {
			well = time.Now()
		}
		if err := pause(ctx, time.Second); err != nil {
			return fmt.Errorf("wait for a healthy cluster: %w", err)
		}
	}
	return nil
}

func (l *lab) healthy(ctx context.Context) bool {
	for _, n := range l.controlPlanes() {
		if !wellAt(ctx, "https://"+n.IP+":6443/readyz") {
			return false
		}
	}
	out, err := l.command(ctx, "kubectl", "get", "nodes", "--no-headers").Output()
	return err == nil && strings.Count(string(out), " Ready ") == len(l.nodes)
}

func wellAt(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
