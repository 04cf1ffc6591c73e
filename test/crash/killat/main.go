//go:build linux

// Command killat runs a program and kills it just before its N-th system call that
// changes something below a directory. All threads count together, which strace's
// "inject=…:when=N" cannot do: it counts for each thread, and a Go program's work moves
// from one to another.
//
//	killat -under DIR [-at N] [-log FILE] -- PROGRAM ARGUMENT…
//
// Without -at nothing is killed. The log has a line of JSON for every call that counts;
// when the program was killed, the last one was not carried out. The exit code is the
// program's, or 137.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A tracer is a single thread, and a filter applies to a single thread.
func init() { runtime.LockOSThread() }

func main() {
	under := flag.String("under", "", "count only calls that change something below this directory")
	at := flag.Int("at", 0, "kill before this call; 0: never")
	log := flag.String("log", os.DevNull, "where to list the calls")
	become := flag.Bool("become", false, "for killat itself: become the program, traced")
	flag.Parse()
	if *become {
		fmt.Fprintln(os.Stderr, "killat:", runFiltered(flag.Args()))
		os.Exit(125)
	}
	code, err := runTraced(*under, *at, *log, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "killat:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

func runTraced(under string, at int, log string, argv []string) (code int, err error) {
	file, err := os.Create(log) //nolint:gosec // named by the test
	if err != nil {
		return 0, err
	}
	lines := bufio.NewWriter(file)
	defer func() {
		if flushErr := lines.Flush(); err == nil {
			err = flushErr
		}
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	cmd := exec.Command("/proc/self/exe", append([]string{"-become", "--"}, argv...)...)
	cmd.Stdout = os.Stdout
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	count := 0
	encoder := json.NewEncoder(lines)
	return traceProcess(pid, func(tid int) {
		c, ok := enteredCall(tid)
		if !ok || !strings.HasPrefix(c.Path, under+"/") {
			return
		}
		count++
		c.Path = strings.TrimPrefix(c.Path, under)
		c.To = strings.TrimPrefix(c.To, under)
		_ = encoder.Encode(c)
		if count == at {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
}

// runFiltered becomes a program that stops for its tracer before the calls that may change
// something, and before no other: a Go program makes some ten thousand of those.
func runFiltered(argv []string) error {
	filter := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // the call's number
	for _, number := range slices.Concat(slices.Collect(maps.Keys(paths)), slices.Collect(maps.Keys(descriptors))) {
		filter = append(filter, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: uint32(number), Jf: 1}, //nolint:gosec // a few hundreds
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_TRACE})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]} //nolint:gosec // some dozens
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0, 0); err != nil { //nolint:gosec // how the kernel is given a program
		return fmt.Errorf("seccomp: %w", err)
	}
	return fmt.Errorf("exec %s: %w", argv[0], unix.Exec(argv[0], argv, os.Environ()))
}

// traceProcess runs a stopped process to its end and calls visit when a thread of it is about
// to carry out a system call that may change something.
func traceProcess(pid int, visit func(tid int)) (code int, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return 0, fmt.Errorf("wait: %w", err)
	}
	options := unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return 0, fmt.Errorf("ptrace: %w", err)
	}
	started := map[int]bool{pid: true}
	for tid := pid; ; {
		deliver := 0
		switch signal := status.StopSignal(); {
		case !status.Stopped():
		case signal == unix.SIGTRAP && status.TrapCause() == unix.PTRACE_EVENT_SECCOMP:
			visit(tid)
		case signal == unix.SIGTRAP: // an event, or the exec at the start
		case signal == unix.SIGSTOP && !started[tid]: // a new thread
		default:
			deliver = int(signal)
		}
		if status.Stopped() {
			started[tid] = true
			// Fails only for a thread that is being killed.
			_ = unix.PtraceCont(tid, deliver)
		}
		if tid, err = unix.Wait4(-1, &status, unix.WALL, nil); err != nil {
			return 0, fmt.Errorf("wait: %w", err)
		}
		if tid != pid {
			continue
		}
		switch {
		case status.Exited():
			return status.ExitStatus(), nil
		case status.Signaled():
			return 128 + int(status.Signal()), nil
		}
	}
}
