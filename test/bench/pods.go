package main

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// podWatch reads what the containers of the node program take from their control
// groups, which count also what was run inside them through the API. It reads them every
// readEvery; what a container takes between the last read and its end is missed.
type podWatch struct {
	lab  string
	mu   sync.Mutex
	seen map[string]*container // by path below the controllers' roots
}

type container struct {
	ours    bool
	foreign bool // and will ever be
	took    resources
}

const readEvery = 100 * time.Millisecond

// watchPods takes everything that runs already for something else.
func (l *lab) watchPods() *podWatch {
	w := &podWatch{lab: l.name, seen: map[string]*container{}}
	w.readGroups()
	for _, c := range w.seen {
		c.foreign = true
	}
	return w
}

func (w *podWatch) run(ctx context.Context) {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		w.readGroups()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (w *podWatch) total() (sum resources) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.seen {
		if c.ours {
			sum.cpu += c.took.cpu
			sum.memory = max(sum.memory, c.took.memory)
		}
	}
	return sum
}

// The controllers' hierarchies in control groups version 1 and 2.
const (
	cpuRoot    = "/sys/fs/cgroup/cpuacct"
	memoryRoot = "/sys/fs/cgroup/memory"
	bothRoot   = "/sys/fs/cgroup"
)

func (w *podWatch) readGroups() {
	root := cpuRoot
	if _, err := os.Stat(root); err != nil {
		root = bothRoot
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_ = filepath.WalkDir(filepath.Join(root, "rotate-certs-lab", w.lab), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil //nolint:nilerr // groups come and go
		}
		if !strings.Contains(path, "/kubepods") {
			return nil
		}
		// What kubepods holds are classes, pods and containers; only the last have processes.
		below, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if c := w.seen[below]; c != nil && c.foreign {
			return fs.SkipDir
		}
		w.note(root, below)
		return nil
	})
}

func (w *podWatch) note(root, below string) {
	c := w.seen[below]
	if c == nil || !c.ours {
		name := commandIn(filepath.Join(root, below, "cgroup.procs"))
		if name == "" {
			return
		}
		// A container starts out as its runtime, so others are read again.
		c = &container{ours: strings.HasPrefix(name, "rotate-certs-no"), foreign: name == "pause"}
		w.seen[below] = c
	}
	if !c.ours {
		return
	}
	if n, ok := number(filepath.Join(cpuRoot, below, "cpuacct.usage")); ok {
		c.took.cpu = time.Duration(n)
	} else if n, ok := field(filepath.Join(bothRoot, below, "cpu.stat"), "usage_usec"); ok {
		c.took.cpu = time.Duration(n) * time.Microsecond
	}
	for _, path := range []string{filepath.Join(memoryRoot, below, "memory.max_usage_in_bytes"), filepath.Join(bothRoot, below, "memory.peak")} {
		if n, ok := number(path); ok {
			c.took.memory = max(c.took.memory, n)
		}
	}
}

// commandIn is the name of the first process of a control group.
func commandIn(procs string) string {
	b, err := os.ReadFile(procs)
	pid, _, _ := strings.Cut(string(b), "\n")
	if err != nil || pid == "" {
		return ""
	}
	name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
	return strings.TrimSpace(string(name))
}

func number(path string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	return n, err == nil
}

func field(path, name string) (int64, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}
