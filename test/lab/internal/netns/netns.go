// Package netns makes the network namespace that holds everything of a lab:
// the bridge, the load balancer, the clients, and the far end of every node's
// link. It forwards nothing to the host's network.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// dir is where ip(8) finds namespaces, so that `ip -n NAME` works. Unlike
// ip(8) this package does not make it a mount of its own, which would stay
// behind for ever.
const dir = "/run/netns"

// Namespace is a named network namespace.
type Namespace string

// Path is the file that keeps the namespace.
func (n Namespace) Path() string { return filepath.Join(dir, string(n)) }

// Create makes the namespace with its loopback interface up.
func (n Namespace) Create() error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("create network namespace %q: %w", n, err)
	}
	file, err := os.OpenFile(n.Path(), os.O_CREATE|os.O_EXCL|os.O_RDONLY, 0o444)
	if err != nil {
		return fmt.Errorf("create network namespace %q: %w", n, err)
	}
	file.Close()
	result := make(chan error)
	go func() {
		// The thread is not unlocked: it belongs to the new namespace and
		// ends with this goroutine.
		runtime.LockOSThread()
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			result <- err
			return
		}
		self := fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid())
		result <- unix.Mount(self, n.Path(), "", unix.MS_BIND, "")
	}()
	if err := <-result; err != nil {
		_ = os.Remove(n.Path())
		return fmt.Errorf("create network namespace %q: %w", n, err)
	}
	return n.IP("link", "set", "lo", "up")
}

// Enter moves the calling thread, which must be locked, into the namespace.
func (n Namespace) Enter() error {
	file, err := os.Open(n.Path())
	if err != nil {
		return fmt.Errorf("enter network namespace %q: %w", n, err)
	}
	defer file.Close()
	if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace %q: %w", n, err)
	}
	return nil
}

// IP runs ip(8) in the namespace.
func (n Namespace) IP(args ...string) error {
	cmd := exec.Command("ip", append([]string{"-n", string(n)}, args...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("ip %q in network namespace %q: %w: %s", args, n, err, out)
	}
	return nil
}

// Delete removes the namespace's name; the namespace ends with its processes.
// There is nothing to do when it does not exist.
func (n Namespace) Delete() error {
	// More than one mount may lie on the file after an aborted run.
	for unix.Unmount(n.Path(), unix.MNT_DETACH) == nil {
	}
	if err := os.Remove(n.Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete network namespace %q: %w", n, err)
	}
	return nil
}
