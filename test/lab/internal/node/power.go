package node

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/process"
)

// endLimit is how long a killed process, or a removed link, may still be there.
const endLimit = 20 * time.Second

// ShutDown asks the node to shut down as by its power button. When it has not done so in time,
// it returns the names of the processes that still run; [Node.CutPower] ends them.
func (n Node) ShutDown(supervisor, leader process.ID, timeout time.Duration) (running []string, err error) {
	if leader.Alive() { // otherwise nothing on the node would shut down
		const halt = syscall.Signal(34 + 4) // SIGRTMIN+4, see systemd(1)
		if err := leader.Signal(halt); err != nil {
			return nil, err
		}
		if supervisor.Wait(timeout) {
			return nil, nil
		}
	}
	return process.Names(n.Group.Processes()), nil
}

// CutPower ends everything of the node at once, and returns when nothing is left that a node of
// the same name would meet. It kills all processes in the node's control group, even if a run
// that was killed has not recorded them. A node that is off is no error.
func (n Node) CutPower() error {
	if err := process.KillAll(n.Group.Processes, endLimit); err != nil {
		return fmt.Errorf("switch node %q off: %w", n.Name, err)
	}
	n.RemoveTraces()
	if err := n.removeLink(); err != nil {
		return err
	}
	// A machine that boots has no control groups of before. A kubelet spends seconds on each
	// one without a container before it starts its pods.
	return n.Group.Remove()
}

// RemoveTraces removes the files of a killed systemd-nspawn outside the node's directory.
func (n Node) RemoveTraces() {
	propagate := filepath.Join("/run/systemd/nspawn/propagate", n.Machine)
	for unix.Unmount(propagate, unix.MNT_DETACH) == nil {
	}
	_ = os.Remove(propagate)
	_ = os.Remove("/run/systemd/nspawn/unix-export/" + n.Machine)
}

// removeLink removes the node's link to the bridge. That of a killed node stays until the kernel
// removes the node's network namespace, some time later, and systemd-nspawn does not start as
// long as there is a link of that name.
func (n Node) removeLink() error {
	link := "vb-" + n.Machine // systemd-nspawn(1), --network-bridge=
	deadline := time.Now().Add(endLimit)
	for n.Namespace.IP("link", "show", "dev", link) == nil {
		err := n.Namespace.IP("link", "delete", "dev", link) // or the kernel was faster
		if time.Now().After(deadline) {
			return fmt.Errorf("switch node %q off: its link %q is not removed: %w", n.Name, link, err)
		}
	}
	return nil
}
