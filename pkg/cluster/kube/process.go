package kube

import (
	"fmt"
	"os"
	"strings"
)

// thisProcess identifies this process among all of this machine's, past and present:
// boot, PID namespace, PID, and when the process started. It is empty where that
// cannot be told (anywhere but on Linux).
func thisProcess() string { return describeProcess("/proc", os.Getpid()) }

func describeProcess(proc string, pid int) string {
	boot, err := os.ReadFile(proc + "/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	namespace, err := os.Readlink(proc + "/self/ns/pid")
	if err != nil {
		return ""
	}
	started := startTicks(proc, pid)
	if started == "" {
		return ""
	}
	return fmt.Sprintf("%s/%s/%d/%s", strings.TrimSpace(string(boot)), strings.Trim(namespace, "pid:[]"), pid, started)
}

// deadProcess says that the described process ran in this boot and PID namespace of
// this machine, and does not exist any more. False whenever that is not sure.
func deadProcess(description string) bool { return deadProcessIn("/proc", os.Getpid(), description) }

func deadProcessIn(proc string, self int, description string) bool {
	theirs := strings.Split(description, "/")
	ours := strings.Split(describeProcess(proc, self), "/")
	if len(theirs) != 4 || len(ours) != 4 || theirs[0] != ours[0] || theirs[1] != ours[1] {
		return false
	}
	var pid int
	if _, err := fmt.Sscanf(theirs[2], "%d", &pid); err != nil || pid <= 0 {
		return false
	}
	return startTicks(proc, pid) != theirs[3]
}

// startTicks is the start time of a process in /proc/PID/stat, in ticks since boot;
// empty where there is no such process, or where it is a zombie.
func startTicks(proc string, pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("%s/%d/stat", proc, pid))
	if err != nil {
		return ""
	}
	// The second field is the program's name in parentheses, and may hold anything.
	_, rest, ok := strings.Cut(string(stat[max(0, strings.LastIndexByte(string(stat), ')')):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 || fields[0] == "Z" {
		return ""
	}
	return fields[19]
}
