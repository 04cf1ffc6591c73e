// Package cgroup gives every node of a lab a control group of its own in every
// hierarchy of the host, whether that has version 1, version 2 or both. The
// groups confine a node, and they are the surest way to find its processes
// again after everything else was forgotten.
package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Hierarchy is one mounted tree of control groups.
type Hierarchy struct {
	Mount string
	V2    bool
}

// Hierarchies lists the control group trees mounted under /sys/fs/cgroup.
func Hierarchies() ([]Hierarchy, error) {
	file, err := os.Open("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("list control groups: %w", err)
	}
	defer file.Close()
	var found []Hierarchy
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if h, ok := parseMount(lines.Text()); ok {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return nil, errors.New("list control groups: none is mounted under /sys/fs/cgroup")
	}
	return found, nil
}

func parseMount(line string) (Hierarchy, bool) {
	fields := strings.Fields(line)
	if len(fields) < 3 || !strings.HasPrefix(fields[1], "/sys/fs/cgroup") {
		return Hierarchy{}, false
	}
	switch fields[2] {
	case "cgroup":
		return Hierarchy{Mount: fields[1]}, true
	case "cgroup2":
		return Hierarchy{Mount: fields[1], V2: true}, true
	}
	return Hierarchy{}, false
}

// V1 reports whether any controller of the host is bound to version 1, in which
// case kubelets have to be configured to accept it.
func V1() bool {
	hierarchies, _ := Hierarchies()
	for _, h := range hierarchies {
		if !h.V2 {
			return true
		}
	}
	return false
}

// Group is the path of a group, the same in every hierarchy.
type Group string

// Create makes the group and its parents in every hierarchy.
func (g Group) Create() error {
	hierarchies, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		dir := h.Mount
		for part := range strings.SplitSeq(string(g), "/") {
			if h.V2 {
				if err := delegate(dir); err != nil {
					return fmt.Errorf("create control group %q: %w", g, err)
				}
			}
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("create control group %q: %w", g, err)
			}
			if err := inheritCPUs(parent, dir); err != nil {
				return fmt.Errorf("create control group %q: %w", g, err)
			}
		}
	}
	return nil
}

// delegate turns on all controllers of dir for the groups below it, one by
// one because those that have no use there are refused.
func delegate(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for controller := range strings.FieldsSeq(string(controllers)) {
		_ = os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+controller), 0o644)
	}
	return nil
}

// inheritCPUs fills the two settings without which a version 1 cpuset group
// accepts no process.
func inheritCPUs(parent, dir string) error {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		value, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || strings.TrimSpace(string(value)) != "" {
			continue
		}
		value, err = os.ReadFile(filepath.Join(parent, name))
		if err != nil || strings.TrimSpace(string(value)) == "" {
			continue // version 2: an empty value means the parent's
		}
		if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Enter moves the calling process into the group.
func (g Group) Enter() error {
	hierarchies, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		procs := filepath.Join(h.Mount, string(g), "cgroup.procs")
		if err := os.WriteFile(procs, []byte(strconv.Itoa(os.Getpid())), 0o644); err != nil {
			return fmt.Errorf("enter control group %q: %w", g, err)
		}
	}
	return nil
}

// Processes lists the processes in the group and the groups below it.
func (g Group) Processes() []int {
	hierarchies, _ := Hierarchies()
	seen := map[int]bool{}
	for _, h := range hierarchies {
		_ = filepath.WalkDir(filepath.Join(h.Mount, string(g)), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return nil
			}
			data, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for field := range strings.FieldsSeq(string(data)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
					seen[pid] = true
				}
			}
			return nil
		})
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	return pids
}

// Remove removes the group and those below it everywhere. Its processes must
// have ended; their groups may stay busy for a moment after that.
func (g Group) Remove() error {
	hierarchies, err := Hierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		root := filepath.Join(h.Mount, string(g))
		deadline := time.Now().Add(10 * time.Second)
		for {
			err := removeTree(root)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("remove control group %q: %w", g, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// RemoveIfEmpty removes the group where nothing is left in it.
func (g Group) RemoveIfEmpty() {
	hierarchies, _ := Hierarchies()
	for _, h := range hierarchies {
		_ = os.Remove(filepath.Join(h.Mount, string(g)))
	}
}

// removeTree removes directories bottom up. It does not remove the files in
// them: the kernel removes those with the directory.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if entry.IsDir() {
			if err := removeTree(filepath.Join(dir, entry.Name())); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
