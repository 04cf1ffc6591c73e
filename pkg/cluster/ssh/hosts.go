package ssh

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

var (
	_ fleet.Nodes    = (*Hosts)(nil)
	_ fleet.Scanner  = (*Hosts)(nil)
	_ fleet.Observer = (*Hosts)(nil)
	_ fleet.API      = (*Hosts)(nil)
	_ fleet.Locker   = (*Hosts)(nil)
	_ fleet.Signers  = (*Hosts)(nil)
)

// atOnce is how many hosts are worked on at the same time.
const atOnce = 16

// Options say how hosts are reached.
type Options struct {
	Addresses []string // as the ssh program takes them: [USER@]HOST, or a name of its configuration
	Config    string   // file to use instead of the operator's configuration; empty: none
	// Program returns the file with the node program for an architecture ("amd64").
	Program func(arch string) (string, error)

	directory string // of the program on the hosts; empty: defaultDirectory
}

// Hosts are nodes that are reached over ssh. They stand in for all that a rotation needs of a
// cluster: see package fleet.
type Hosts struct {
	hosts []*host
	close func()

	mu     sync.Mutex
	byNode map[string]*host
	found  map[string]inventory.Node // by node, a scan that was not asked for yet
	// controlPlane holds the nodes that run a part of the control plane.
	controlPlane map[string]bool
}

// Connect connects to all hosts, copies the program there and scans them. Where one cannot be
// worked on, the error has the reason for each. The caller calls Disconnect.
func Connect(ctx context.Context, o Options) (*Hosts, error) {
	for i, address := range o.Addresses {
		switch {
		case address == "" || strings.HasPrefix(address, "-") || strings.ContainsAny(address, " \t\n"):
			return nil, fmt.Errorf("host %q: want [USER@]HOST", address)
		case slices.Contains(o.Addresses[:i], address):
			return nil, fmt.Errorf("host %q is named twice", address)
		}
	}
	c, closeClient, err := newClient(o.Config)
	if err != nil {
		return nil, err
	}
	h := &Hosts{close: closeClient, hosts: make([]*host, len(o.Addresses)), byNode: map[string]*host{}, controlPlane: map[string]bool{}, found: map[string]inventory.Node{}}
	err = eachOf(o.Addresses, func(i int, address string) error {
		host, arch, err := connectHost(ctx, c, address, cmp.Or(o.directory, defaultDirectory))
		if err != nil {
			return err
		}
		h.hosts[i] = host
		file, err := o.Program(arch)
		if err != nil {
			return fmt.Errorf("host %q: %w", address, err)
		}
		if err := host.installProgram(ctx, file); err != nil {
			return fmt.Errorf("copy the node program: %w", err)
		}
		return h.scanHost(ctx, host, "")
	})
	if err != nil {
		_ = h.Disconnect(context.WithoutCancel(ctx)) // its error would hide the cause
		return nil, err
	}
	return h, nil
}

// eachOf calls f for all, some at the same time, and joins their errors in order.
func eachOf[T any](all []T, f func(i int, one T) error) error {
	failures := make([]error, len(all))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, one := range all {
		g.Go(func() error {
			failures[i] = f(i, one)
			return nil
		})
	}
	_ = g.Wait() // see failures
	return errors.Join(failures...)
}

// disconnectTimeout bounds the removal of the programs.
const disconnectTimeout = 15 * time.Second

// Disconnect removes the program from the hosts and closes the connections. Its error names the
// hosts where the program stays; the next use replaces it.
func (h *Hosts) Disconnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, disconnectTimeout)
	defer cancel()
	defer h.close()
	return eachOf(h.hosts, func(_ int, host *host) error {
		if host == nil {
			return nil
		}
		defer host.client.close(ctx, host.address)
		if host.program == "" {
			return nil
		}
		if err := host.removeProgram(ctx); err != nil {
			return fmt.Errorf("remove %q: %w", host.program, err)
		}
		return nil
	})
}

// scanHost scans a host and keeps the inventory for the next Scan. name is that of an earlier
// scan; empty: the node says it.
func (h *Hosts) scanHost(ctx context.Context, host *host, name string) error {
	args := []string{nodeapi.CommandScan}
	if name != "" {
		args = append(args, "--node-name="+name)
	}
	var n inventory.Node
	from := time.Now()
	if err := host.call(ctx, &n, args...); err != nil {
		return err
	}
	n.Scanned = inventory.Scanned{From: from, To: time.Now()}
	h.mu.Lock()
	defer h.mu.Unlock()
	switch other := h.byNode[n.Name]; {
	case n.Name == "" || name != "" && n.Name != name:
		return fmt.Errorf("host %q: its inventory is of node %q", host.address, n.Name)
	case other != nil && other != host:
		return fmt.Errorf("hosts %q and %q are both node %q", other.address, host.address, n.Name)
	}
	h.byNode[n.Name] = host
	h.found[n.Name] = n
	h.controlPlane[n.Name] = n.ControlPlane()
	return nil
}

func (h *Hosts) hostOf(node string) *host {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.byNode[node]
}

// Scan returns the inventories of the named nodes; the first is that of Connect.
func (h *Hosts) Scan(ctx context.Context, nodes []string) ([]inventory.Node, []plan.Exclusion, error) {
	failures := make([]error, len(nodes))
	_ = eachOf(nodes, func(i int, name string) error { // see failures
		h.mu.Lock()
		host := h.byNode[name]
		_, fresh := h.found[name]
		h.mu.Unlock()
		if host != nil && !fresh {
			failures[i] = h.scanHost(ctx, host, name)
		}
		return nil
	})
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var found []inventory.Node
	var missing []plan.Exclusion
	for i, name := range nodes {
		n, ok := h.found[name]
		switch {
		case ok:
			found = append(found, n)
			delete(h.found, name)
		case failures[i] != nil:
			missing = append(missing, plan.Exclusion{Node: name, NotInspected: inventory.NotInspected{Reason: failures[i].Error()}})
		default:
			missing = append(missing, plan.Exclusion{Node: name, NotInspected: inventory.NotInspected{Reason: "it is not among the hosts"}})
		}
	}
	return found, missing, nil
}

// Nodes returns the hosts as nodes.
func (h *Hosts) Nodes(context.Context) ([]kubenode.Node, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []kubenode.Node
	for name, host := range h.byNode {
		out = append(out, kubenode.Node{
			Name: name, Ready: true, OS: "linux", ControlPlane: h.controlPlane[name],
			Addresses: []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: withoutUser(host.address)}},
		})
	}
	slices.SortFunc(out, func(a, b kubenode.Node) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// MayRotate returns nil: who may log in as root may rotate.
func (h *Hosts) MayRotate(context.Context) error { return nil }

// DefaultValidity returns 0: certificates live as long as their predecessors.
func (h *Hosts) DefaultValidity(context.Context) (time.Duration, error) { return 0, nil }

// DryRun returns nil: no API server has to admit anything.
func (h *Hosts) DryRun(context.Context, string, []plan.Step) error { return nil }

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

// Unsettled returns the nodes on which, by the scan of Connect, a rotation was interrupted or is in
// progress.
func (h *Hosts) Unsettled() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for name, n := range h.found {
		if isUnsettled(n) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// isUnsettled reports whether a commit has no answer on a node, or was not verified.
func isUnsettled(n inventory.Node) bool {
	return slices.ContainsFunc(n.Rotations, func(r inventory.NodeRotation) bool { return r.State == inventory.Committing || r.Unverified })
}

// SettleInterrupted has every host complete or undo what an interrupted rotation left there, all at
// the same time: etcd members become healthy only together. It reports whether there was any. Where
// the outcome cannot be verified, the error is an [*UnverifiedError].
func (h *Hosts) SettleInterrupted(ctx context.Context) (bool, error) {
	ended, err := h.Close(ctx, "")
	if err != nil {
		return false, err
	}
	if ended > 0 {
		h.forgetScans()
	}
	nodes, missing, err := h.Scan(ctx, h.names())
	if err != nil {
		return false, err
	}
	if len(missing) > 0 {
		return false, fmt.Errorf("scan the hosts again: %s", missing[0])
	}
	var open []*host
	for _, n := range nodes {
		if isUnsettled(n) {
			open = append(open, h.hostOf(n.Name))
			continue
		}
		h.keepScan(n)
	}
	unverified := make([]string, len(open))
	err = eachOf(open, func(i int, host *host) error {
		text, err := host.settle(ctx)
		unverified[i] = text
		return err
	})
	if texts := slices.DeleteFunc(unverified, func(s string) bool { return s == "" }); err == nil && len(texts) > 0 {
		err = &UnverifiedError{texts}
	}
	return ended > 0 || len(open) > 0, err
}

// settle runs the node program's own recovery. unverified is the reason why its outcome could not
// be verified.
func (h *host) settle(ctx context.Context) (unverified string, err error) {
	var out, said bytes.Buffer
	err = h.Run(ctx, session.Command{Args: []string{"recover", "--output=json"}, Stdout: &limited{&out}, Stderr: &limited{&said}})
	var exit *session.ExitError
	if !errors.As(err, &exit) {
		return "", err
	}
	failed := &session.CommandError{Node: h.address, Verb: "recover", Code: exit.Code, Said: session.LastLine(said.String())}
	if exit.Code == exitcode.ManualInterventionRequired {
		return failed.Error(), nil
	}
	return "", failed
}

// UnverifiedError means that what was completed or undone on hosts could not be verified.
type UnverifiedError struct{ Texts []string }

func (e *UnverifiedError) Error() string { return strings.Join(e.Texts, "\n") }

// Unwrap returns [fleet.ErrManualInterventionRequired].
func (e *UnverifiedError) Unwrap() error { return fleet.ErrManualInterventionRequired }

func (h *Hosts) names() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Sorted(maps.Keys(h.byNode))
}

func (h *Hosts) keepScan(n inventory.Node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.found[n.Name] = n
}

// forgetScans makes the next Scan read the nodes again.
func (h *Hosts) forgetScans() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.found)
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

// Acquire returns a lock without an object in the API: a token above that of every node. Each
// node takes one process at a time, and refuses the orders of a rotation with an older token.
func (h *Hosts) Acquire(_ context.Context, _ string, minToken int64) (fleet.Lock, error) {
	return nodeLock(minToken + 1), nil
}

// nodeLock is a lock that only the nodes keep.
type nodeLock int64

// Token returns the fencing token.
func (l nodeLock) Token() int64 { return int64(l) }

// Confirm returns nil: each node checks the token of every order.
func (l nodeLock) Confirm(context.Context) error { return nil }

// Release returns nil: there is nothing to release.
func (l nodeLock) Release(context.Context) error { return nil }

// errNoAPI means that something can be signed by the certificates API only.
var errNoAPI = errors.New("only the certificates API can sign this, and this rotation does not use the API")

// Approve returns nil for a kubelet's client certificate, which the controller manager approves
// itself. For every other request it fails.
func (h *Hosts) Approve(_ context.Context, _ string, csr nodeapi.CSR) error {
	if csr.Signer == certificatesv1.KubeAPIServerClientKubeletSignerName {
		return nil
	}
	return errNoAPI
}

// Issue fails: there is no certificates API.
func (h *Hosts) Issue(context.Context, string, nodeapi.CSR) ([]byte, error) { return nil, errNoAPI }
