package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/process"
)

// launch starts a node without waiting for it.
func (l *Lab) launch(n *Node) error {
	id, err := detach(n.ConsoleLog(), "become-node", "--name", l.Spec.Name, n.Name)
	if err != nil {
		return fmt.Errorf("start node %q: %w", n.Name, err)
	}
	n.Supervisor, n.Leader, n.Stopped = id, process.ID{}, false
	return l.save()
}

// awaitBoot waits until a launched node runs containers and can be reached over ssh.
func (l *Lab) awaitBoot(n *Node) error {
	leader, err := n.Node.Leader(n.Supervisor, l.waitLimit())
	if err != nil {
		return err
	}
	n.Leader = leader
	return waitFor(fmt.Sprintf("node %q", n.Name), l.waitLimit(), func() error {
		if !n.Supervisor.Alive() {
			return fmt.Errorf("it ended; read %s", n.ConsoleLog())
		}
		// Asked one by one: for several, "is-active" succeeds as soon as one of them is.
		for _, unit := range []string{"systemd-networkd.service", "containerd.service", "ssh.service"} {
			if _, err := l.onNode(n, nil, "systemctl", "is-active", unit); err != nil {
				return fmt.Errorf("%s: %w", unit, err)
			}
		}
		return nil
	})
}

// BecomeNode turns the calling process into a node of the lab.
func (l *Lab) BecomeNode(name string) error {
	n, err := l.Node(name)
	if err != nil {
		return err
	}
	return n.Become()
}

// startBalancer starts the load balancer before the API servers.
func (l *Lab) startBalancer() error {
	if err := l.group("balancer").Create(); err != nil {
		return err
	}
	id, err := detach(l.path("balancer.log"), "become-balancer", "--name", l.Spec.Name)
	if err != nil {
		return fmt.Errorf("start the load balancer: %w", err)
	}
	l.Balancer = id
	return l.save()
}

// BecomeBalancer turns the calling process into the lab's load balancer.
func (l *Lab) BecomeBalancer() error {
	if err := l.group("balancer").Enter(); err != nil {
		return err
	}
	// A real load balancer has a machine of its own. This one should not be
	// late only because the nodes are busy.
	runtime.LockOSThread() // priorities are a thread's, and handed on to what it executes
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, 0, -10); err != nil {
		fmt.Fprintf(os.Stderr, "the load balancer gets no better priority: %v\n", err)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	argv := []string{self, "balance", "--listen", fmt.Sprintf("%s:%d", gateway, l.APIPort)}
	for _, n := range l.Nodes {
		if n.Role == ControlPlane {
			argv = append(argv, fmt.Sprintf("%s=%s:%d", n.Name, n.IP, l.APIPort))
		}
	}
	return l.Become(argv)
}

// detach starts this program again, with other arguments, as a process that
// continues to run when this one and its terminal end.
func detach(logFile string, args ...string) (process.ID, error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return process.ID{}, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return process.ID{}, err
	}
	go func() { _ = cmd.Wait() }() // or it would stay as a zombie
	return process.Of(cmd.Process.Pid)
}

// waitFor calls check until it finds no error, or reports the last one when
// the time is over.
func waitFor(what string, timeout time.Duration, check func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("wait for %s: not there after %s: %w", what, timeout, err)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// waitLimit bounds every single wait. It is generous: a busy machine is slow,
// and what fails for good is found out by other means first.
func (l *Lab) waitLimit() time.Duration { return 3 * time.Minute }
