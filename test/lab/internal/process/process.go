// Package process identifies processes with certainty, so that nothing is
// ever ended that the lab did not start. A process number alone is reused by
// the kernel; together with the start time and the boot it is unique.
package process

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ID is one process, for ever: no later process has the same ID.
type ID struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after the boot
	Boot  string `json:"boot"`
}

// Of returns the identity of the process that has the number pid now.
func Of(pid int) (ID, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	start, _, err := parseStat(stat)
	if err != nil {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ID{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return ID{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// parseStat returns the start time and the state letter in a /proc/PID/stat.
// The command's name, the second field, may hold spaces and parentheses, so
// fields are counted from the last parenthesis.
func parseStat(stat []byte) (start uint64, state byte, err error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, 0, fmt.Errorf("malformed stat %q", stat)
	}
	fields := strings.Fields(string(stat[end+1:]))
	const stateField, startField = 0, 19 // fields 3 and 22 of proc(5)
	if len(fields) <= startField {
		return 0, 0, fmt.Errorf("malformed stat %q", stat)
	}
	start, err = strconv.ParseUint(fields[startField], 10, 64)
	return start, fields[stateField][0], err
}

// Alive reports whether this very process still runs; a zombie does not.
func (id ID) Alive() bool {
	if id.PID == 0 {
		return false
	}
	now, err := Of(id.PID)
	if err != nil || now != id {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id.PID))
	if err != nil {
		return false
	}
	_, state, err := parseStat(stat)
	return err == nil && state != 'Z'
}

// Signal sends sig to this very process, and nothing when it has ended.
func (id ID) Signal(sig syscall.Signal) error {
	if !id.Alive() {
		return nil
	}
	if err := syscall.Kill(id.PID, sig); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("signal process %d: %w", id.PID, err)
	}
	return nil
}

// Wait waits until the process has ended and reports whether it has.
func (id ID) Wait(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for id.Alive() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

// Children returns the numbers of the processes that pid started itself.
func Children(pid int) []int {
	var pids []int
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, task := range tasks {
		data, _ := os.ReadFile(task)
		for _, field := range strings.Fields(string(data)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// InNetwork returns the processes whose network namespace is the file at path.
func InNetwork(path string) []int {
	var want syscall.Stat_t
	if syscall.Stat(path, &want) != nil {
		return nil
	}
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/ns/net")
	for _, link := range links {
		var got syscall.Stat_t
		if syscall.Stat(link, &got) != nil || got.Ino != want.Ino || got.Dev != want.Dev {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(link, "/")[2]); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// KillAll kills what find returns, again and again, until it returns nothing
// that can still be killed: a process may be starting others meanwhile.
func KillAll(find func() []int, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		var left []int
		for _, pid := range find() {
			if pid == os.Getpid() {
				continue
			}
			if id, err := Of(pid); err == nil && id.Alive() {
				left = append(left, pid)
				_ = id.Signal(syscall.SIGKILL)
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v do not end although they were killed", left)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Names are those of running processes, each once, in alphabetical order.
func Names(pids []int) []string {
	var names []string
	for _, pid := range pids {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil {
			names = append(names, strings.TrimSpace(string(name)))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Ancestors lists pid and the processes that it descends from.
func Ancestors(pid int) []int {
	var pids []int
	for pid > 1 {
		pids = append(pids, pid)
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 2 {
			break
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			break
		}
	}
	return pids
}
