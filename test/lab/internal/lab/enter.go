package lab

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
)

// Become turns the calling process into argv, run in the lab's network
// namespace: the names of the cluster resolve, KUBECONFIG is set, and kubectl
// is on the PATH. It returns only when that failed.
func (l *Lab) Become(argv []string) error {
	runtime.LockOSThread()
	if err := l.namespace().Enter(); err != nil {
		return err
	}
	// Names come from /etc/hosts, of which only this process sees another.
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("enter lab %q: %w", l.Spec.Name, err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("enter lab %q: %w", l.Spec.Name, err)
	}
	if err := unix.Mount(l.path("hosts"), "/etc/hosts", "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("enter lab %q: %w", l.Spec.Name, err)
	}
	for name, value := range map[string]string{
		"KUBECONFIG": l.Kubeconfig(),
		"PATH":       l.path("bin") + ":" + os.Getenv("PATH"),
	} {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("enter lab %q: %w", l.Spec.Name, err)
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return fmt.Errorf("run %q: %w", argv[0], err)
	}
	return syscall.Exec(path, argv, os.Environ())
}

// BecomeOn turns the calling process into argv, run on a node.
func (l *Lab) BecomeOn(name string, argv []string) error {
	n, err := l.Node(name)
	if err != nil {
		return err
	}
	if !n.Leader.Alive() {
		return hint.AddTo(fmt.Errorf("node %q is off", name), "lab start %s", name)
	}
	command := node.Enter(n.Leader, argv...)
	path, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	return syscall.Exec(path, command, os.Environ())
}

// onNode runs argv on a node and returns what it prints.
func (l *Lab) onNode(n *Node, stdin io.Reader, argv ...string) (string, error) {
	command := node.Enter(n.Leader, argv...)
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdin = stdin
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s on node %q: %w\n%s", strings.Join(argv, " "), n.Name, err, tail(string(out), 40))
	}
	return string(out), nil
}

// inside returns a command that runs in the lab's network namespace.
func (l *Lab) inside(argv ...string) *exec.Cmd {
	return exec.Command("/proc/self/exe", append([]string{"run", "--name", l.Spec.Name, "--"}, argv...)...)
}

// kubectl runs kubectl as the cluster's administrator.
func (l *Lab) kubectl(args ...string) (string, error) {
	cmd := l.inside(append([]string{"kubectl"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return string(out), nil
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
