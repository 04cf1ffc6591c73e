package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/cgroup"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/netns"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/process"
)

const (
	stateRoot = "/var/lib/rotate-certs-lab"
	groupRoot = "rotate-certs-lab"
)

// Node is one node of a lab and the processes that are it.
type Node struct {
	node.Node
	Role       Role       `json:"role"`
	IP         string     `json:"ip"`
	PodCIDR    string     `json:"podCIDR,omitempty"`
	Supervisor process.ID `json:"supervisor"` // systemd-nspawn
	Leader     process.ID `json:"leader"`     // the first process inside
	Stopped    bool       `json:"stopped,omitempty"`
}

// Lab is a lab as its state file has it.
type Lab struct {
	Spec         Spec       `json:"spec"`
	Ready        bool       `json:"ready"` // Up came to its end
	Nodes        []Node     `json:"nodes"`
	Balancer     process.ID `json:"balancer"`
	APIPort      int        `json:"apiPort"`
	KubectlPath  string     `json:"kubectl"`
	Created      time.Time  `json:"created"`
	progress     io.Writer
	startOfClock time.Time
}

// paths and names of everything a lab owns on the host.

func dirOf(name string) string                { return filepath.Join(stateRoot, name) }
func namespaceOf(name string) netns.Namespace { return netns.Namespace("rotate-certs-lab-" + name) }
func groupOf(name string) cgroup.Group        { return cgroup.Group(groupRoot + "/" + name) }
func (l *Lab) path(elements ...string) string {
	return filepath.Join(append([]string{dirOf(l.Spec.Name)}, elements...)...)
}
func (l *Lab) namespace() netns.Namespace { return namespaceOf(l.Spec.Name) }
func (l *Lab) endpoint() string           { return fmt.Sprintf("%s:%d", EndpointName, l.APIPort) }
func (l *Lab) group(member string) cgroup.Group {
	return groupOf(l.Spec.Name) + cgroup.Group("/"+member)
}

// Kubeconfig is the path of an administrator's kubeconfig.
func (l *Lab) Kubeconfig() string { return l.path("kubeconfig") }

// Open reads the state of a lab.
func Open(name string) (*Lab, error) {
	data, err := os.ReadFile(filepath.Join(dirOf(name), "lab.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, hint.AddTo(fmt.Errorf("there is no lab %q: %w", name, fs.ErrNotExist), "lab up --name %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state of lab %q: %w", name, err)
	}
	var l Lab
	if err := json.Unmarshal(data, &l); err != nil {
		return nil, fmt.Errorf("read the state of lab %q: %w", name, err)
	}
	return &l, nil
}

// save writes the state file, whole or not at all.
func (l *Lab) save() error {
	data, err := json.MarshalIndent(l, "", "  ")
	if err != nil {
		return fmt.Errorf("save the state of lab %q: %w", l.Spec.Name, err)
	}
	temporary := l.path("lab.json.new")
	if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("save the state of lab %q: %w", l.Spec.Name, err)
	}
	if err := os.Rename(temporary, l.path("lab.json")); err != nil {
		return fmt.Errorf("save the state of lab %q: %w", l.Spec.Name, err)
	}
	return nil
}

// Node returns the node of that name.
func (l *Lab) Node(name string) (*Node, error) {
	names := ""
	for i := range l.Nodes {
		if l.Nodes[i].Name == name {
			return &l.Nodes[i], nil
		}
		names += " " + l.Nodes[i].Name
	}
	return nil, hint.AddTo(fmt.Errorf("lab %q has no node %q", l.Spec.Name, name), "it has%s", names)
}

// clusterSize is how many of the machines are nodes of the cluster.
func (l *Lab) clusterSize() int { return l.Spec.ControlPlanes + l.Spec.Workers }

// running reports whether every process that should run does; if not, which
// does not.
func (l *Lab) running() (missing string, ok bool) {
	for _, n := range l.Nodes {
		if !n.Stopped && !(n.Leader.Alive() && n.Supervisor.Alive()) {
			return "node " + n.Name, false
		}
	}
	if l.Spec.LoadBalancer && !l.Balancer.Alive() {
		return "the load balancer", false
	}
	return "", true
}

// Lock keeps other runs from changing the lab of this name.
func Lock(name string, log io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(stateRoot, 0o755); err != nil {
		return nil, fmt.Errorf("lock lab %q: %w", name, err)
	}
	path := filepath.Join(stateRoot, "."+name+".lock")
	for {
		file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock lab %q: %w", name, err)
		}
		if unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
			fmt.Fprintf(log, "waiting for another run that changes lab %q\n", name)
			if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
				file.Close()
				return nil, fmt.Errorf("lock lab %q: %w", name, err)
			}
		}
		// The one before may have removed the file that was waited for.
		if ours, err := file.Stat(); err == nil {
			if current, err := os.Stat(path); err == nil && os.SameFile(ours, current) {
				return func() {
					_ = os.Remove(path)
					_ = os.Remove(stateRoot) // only when there is no lab
					file.Close()
				}, nil
			}
		}
		file.Close()
		if err := os.MkdirAll(stateRoot, 0o755); err != nil {
			return nil, fmt.Errorf("lock lab %q: %w", name, err)
		}
	}
}
