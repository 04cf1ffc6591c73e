// Package node runs one machine of a lab: a tree of files on an overlay with
// systemd as its first process, in namespaces and control groups of its own.
// systemd-nspawn does the work; its mounts live in a mount namespace of their
// own, so that they vanish with the node and never appear on the host.
package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/cgroup"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/netns"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/process"
)

// Node says where a node lives. It is all that is needed to boot it.
type Node struct {
	Name      string          `json:"name"`
	Machine   string          `json:"machine"` // unique on the host
	Dir       string          `json:"dir"`     // everything the node writes
	Layers    []string        `json:"layers"`  // read-only trees, the topmost first
	Namespace netns.Namespace `json:"namespace"`
	Group     cgroup.Group    `json:"group"`
}

// Bridge is the name of the bridge, inside the network namespace, that the
// nodes' links are put on.
const Bridge = "br0"

// ownDirs are the directories of a node that must be real ones: an overlay,
// such as containerd makes, cannot be stacked on the node's own.
var ownDirs = []string{"containerd", "kubelet", "etcd"}

// ConsoleLog is the file that gets what the node prints while it boots.
func (n Node) ConsoleLog() string { return filepath.Join(n.Dir, "console.log") }

// Upper is the directory that holds what the node's tree has changed.
func (n Node) Upper() string { return filepath.Join(n.Dir, "upper") }

// ContainerdRoot is the host's directory behind the node's /var/lib/containerd.
func (n Node) ContainerdRoot() string { return filepath.Join(n.Dir, "containerd") }

// KubeletRoot is the host's directory behind the node's /var/lib/kubelet.
func (n Node) KubeletRoot() string { return filepath.Join(n.Dir, "kubelet") }

// Prepare makes the node's directories and its control group.
func (n Node) Prepare() error {
	for _, dir := range append([]string{"upper", "work", "root"}, ownDirs...) {
		if err := os.MkdirAll(filepath.Join(n.Dir, dir), 0o755); err != nil {
			return fmt.Errorf("prepare node %q: %w", n.Name, err)
		}
	}
	// etcd warns about a data directory that others may read.
	if err := os.Chmod(filepath.Join(n.Dir, "etcd"), 0o700); err != nil {
		return fmt.Errorf("prepare node %q: %w", n.Name, err)
	}
	return n.Group.Create()
}

// Become turns the calling process into the node: it never returns unless
// something failed. The caller is a process started for this only.
func (n Node) Become() error {
	runtime.LockOSThread()
	if err := n.Group.Enter(); err != nil {
		return err
	}
	if err := n.Namespace.Enter(); err != nil {
		return err
	}
	if err := n.mountRoot(); err != nil {
		return fmt.Errorf("mount the tree of node %q: %w", n.Name, err)
	}
	nspawn, err := exec.LookPath("systemd-nspawn")
	if err != nil {
		return err
	}
	env := append(os.Environ(),
		"SYSTEMD_NSPAWN_API_VFS_WRITABLE=yes", // the kubelet writes to /proc/sys
		"SYSTEMD_NSPAWN_LOCK=0",               // a lock outlives a killed node
	)
	return syscall.Exec(nspawn, n.arguments(), env)
}

func (n Node) arguments() []string {
	args := []string{
		"systemd-nspawn", "--quiet", "--boot", "--directory=" + filepath.Join(n.Dir, "root"),
		"--machine=" + n.Machine, "--hostname=" + n.Name, "--uuid=" + uuid(n.Machine),
		"--settings=no", "--register=no", "--keep-unit", "--console=pipe",
		"--network-veth", "--network-bridge=" + Bridge,
		"--resolv-conf=off", "--timezone=off", "--link-journal=no",
		"--capability=all",
		"--system-call-filter=@keyring bpf @privileged @raw-io @obsolete add_key keyctl",
		"--bind=/dev/kmsg",
	}
	for _, dir := range ownDirs {
		args = append(args, "--bind="+filepath.Join(n.Dir, dir)+":/var/lib/"+dir)
	}
	return args
}

// mountRoot mounts the node's tree in a new mount namespace, of which only
// this thread and what it executes are part.
func (n Node) mountRoot() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	// Slave: what the host unmounts must be unmounted here too.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return err
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s",
		strings.Join(n.Layers, ":"), n.Upper(), filepath.Join(n.Dir, "work"))
	return unix.Mount("overlay", filepath.Join(n.Dir, "root"), "overlay", 0, options)
}

// Leader waits for the first process of the node that supervisor, a process
// which became the node, has started.
func (n Node) Leader(supervisor process.ID, timeout time.Duration) (process.ID, error) {
	deadline := time.Now().Add(timeout)
	for time.Now().Before(deadline) {
		if !supervisor.Alive() {
			break
		}
		for _, pid := range process.Children(supervisor.PID) {
			// nspawn has a helper child for a moment; systemd is the one
			// that calls itself so.
			comm, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			if strings.TrimSpace(string(comm)) == "systemd" {
				return process.Of(pid)
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return process.ID{}, hint.AddTo(fmt.Errorf("node %q does not start", n.Name), "read %s", n.ConsoleLog())
}

// Enter returns the command line that runs argv on the node whose first
// process is leader.
func Enter(leader process.ID, argv ...string) []string {
	// env -i: the caller's variables mean nothing on the node.
	return append([]string{
		"nsenter", "--target", fmt.Sprint(leader.PID), "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup",
		"--", "env", "-i", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.Getenv("TERM"),
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}, argv...)
}
