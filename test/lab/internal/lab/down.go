package lab

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/cgroup"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/process"
)

// Down removes everything of a lab. It works from what is there, not from what
// the state file says, so it also works after any run or process of the lab
// was killed. Removing what does not exist is no error.
func Down(name string) error {
	nodes := leftNodes(name)
	if err := process.KillAll(func() []int { return ownProcesses(name) }, 30*time.Second); err != nil {
		return fmt.Errorf("remove lab %q: %w", name, err)
	}
	if err := unmountBelow(dirOf(name)); err != nil {
		return fmt.Errorf("remove lab %q: %w", name, err)
	}
	if err := namespaceOf(name).Delete(); err != nil {
		return fmt.Errorf("remove lab %q: %w", name, err)
	}
	if err := groupOf(name).Remove(); err != nil {
		return fmt.Errorf("remove lab %q: %w", name, err)
	}
	cgroup.Group(groupRoot).RemoveIfEmpty()
	for _, n := range nodes {
		n.RemoveTraces()
	}
	if err := os.RemoveAll(dirOf(name)); err != nil {
		return fmt.Errorf("remove lab %q: %w", name, err)
	}
	return restoreLimits()
}

// Exists reports whether anything of a lab is there, whole or in parts.
func Exists(name string) bool {
	if _, err := os.Lstat(dirOf(name)); err == nil {
		return true
	}
	if _, err := os.Lstat(namespaceOf(name).Path()); err == nil {
		return true
	}
	return len(groupOf(name).Processes()) > 0
}

// ownProcesses lists the processes that are the lab's beyond doubt: those in
// its control groups, those in its network namespace, and those it recorded.
// The processes that lead to this one are spared: `lab down` may be run
// from within `lab run`.
func ownProcesses(name string) []int {
	pids := groupOf(name).Processes()
	pids = append(pids, process.InNetwork(namespaceOf(name).Path())...)
	if l, err := Open(name); err == nil {
		recorded := []process.ID{l.Balancer}
		for _, n := range l.Nodes {
			recorded = append(recorded, n.Leader, n.Supervisor)
		}
		for _, id := range recorded {
			if id.Alive() {
				pids = append(pids, id.PID)
			}
		}
	}
	spared := process.Ancestors(os.Getpid())
	return slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(spared, pid) })
}

// leftNodes lists the nodes whose directories are there.
func leftNodes(name string) []node.Node {
	var nodes []node.Node
	entries, _ := os.ReadDir(filepath.Join(dirOf(name), "nodes"))
	for _, entry := range entries {
		nodes = append(nodes, node.Node{Name: entry.Name(), Machine: machineName(name, entry.Name())})
	}
	return nodes
}

// unmountBelow unmounts whatever is mounted below dir, the deepest first.
func unmountBelow(dir string) error {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("list mounts: %w", err)
	}
	defer file.Close()
	for _, mount := range slices.Backward(mountsBelow(file, dir)) {
		if err := unix.Unmount(mount, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %q: %w", mount, err)
		}
	}
	return nil
}

// mountsBelow returns the mount points below dir in the order they were made.
func mountsBelow(mountinfo io.Reader, dir string) []string {
	var found []string
	for lines := bufio.NewScanner(mountinfo); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && strings.HasPrefix(fields[4], dir+"/") {
			found = append(found, fields[4])
		}
	}
	return found
}

// List returns the names of all labs that have a state.
func List() ([]string, error) {
	entries, err := os.ReadDir(stateRoot)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list labs: %w", err)
	}
	var names []string
	for _, entry := range entries {
		if entry.Type() == fs.ModeDir {
			names = append(names, entry.Name())
		}
	}
	return names, nil
}
