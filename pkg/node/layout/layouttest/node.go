// Package layouttest builds the parts of a node's root directory from which
// components are discovered: processes, manifests, units and configuration.
package layouttest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// Node is a root directory under construction.
type Node struct {
	T    testing.TB
	Root hostfs.Root
}

// NewNode starts an empty node in a temporary directory, booted at a fixed time.
func NewNode(t testing.TB) *Node {
	t.Helper()
	return NodeIn(t, hostfs.Root(t.TempDir()))
}

// NodeIn adds to a root that exists.
func NodeIn(t testing.TB, root hostfs.Root) *Node {
	t.Helper()
	n := &Node{t, root}
	n.WriteFile("/proc/stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 1\n")
	n.WriteFile("/proc/1/cgroup", "0::/init.scope\n")
	n.WriteFile("/proc/1/cmdline", "/sbin/init\x00")
	n.WriteFile("/etc/hostname", "Node-1\n")
	return n
}

// LocalPath is where a host path lies for the test.
func (n *Node) LocalPath(hostPath string) string { return filepath.Join(string(n.Root), hostPath) }

// WriteFile writes a file, directories included.
func (n *Node) WriteFile(hostPath, content string) {
	n.T.Helper()
	n.check(os.MkdirAll(filepath.Dir(n.LocalPath(hostPath)), 0o755))
	n.check(os.WriteFile(n.LocalPath(hostPath), []byte(content), 0o600))
}

// LinkFile makes a symlink whose target is a path of the host.
func (n *Node) LinkFile(hostPath, target string) {
	n.T.Helper()
	n.check(os.MkdirAll(filepath.Dir(n.LocalPath(hostPath)), 0o755))
	n.check(os.Symlink(target, n.LocalPath(hostPath)))
}

// AddProcess adds a running process, started 100 seconds after the boot. cgroup is the
// content of its cgroup file; a bare path means the one line of cgroup v2.
func (n *Node) AddProcess(pid int, cgroup string, argv ...string) {
	n.T.Helper()
	if strings.HasPrefix(cgroup, "/") {
		cgroup = "0::" + cgroup + "\n"
	}
	dir := fmt.Sprintf("/proc/%d/", pid)
	n.WriteFile(dir+"cgroup", cgroup)
	n.WriteFile(dir+"cmdline", strings.Join(argv, "\x00")+"\x00")
	n.WriteFile(dir+"stat", fmt.Sprintf("%d (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 1 1 0 0 20 0 11 0 10000 1 1\n", pid))
}

// UnitCgroup is the control group of a systemd unit.
func UnitCgroup(name string) string { return "/system.slice/" + name }

// StaticPodCgroup is the control group of a container in a static pod.
func StaticPodCgroup(digit string) string {
	return "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod" + strings.Repeat(digit, 32) +
		".slice/cri-containerd-" + strings.Repeat("c", 64) + ".scope"
}

// PodCgroup is the control group of a container in an ordinary pod.
func PodCgroup(uid string) string {
	return "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod" + strings.ReplaceAll(uid, "-", "_") +
		".slice/cri-containerd-" + strings.Repeat("d", 64) + ".scope"
}

func (n *Node) check(err error) {
	n.T.Helper()
	if err != nil {
		n.T.Fatal(err)
	}
}
