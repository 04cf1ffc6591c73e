//go:build linux

// Command killat runs a program and kills it just before its N-th system call that
// changes something below a directory. All threads count together, which strace's
// "inject=…:when=N" cannot do: it counts for each thread, and a Go program's work moves
// from one to another.
//
//	killat -under DIR [-at N] [-log FILE] -- PROGRAM ARGUMENT…
//
// Without -at nothing is killed. The log has a line for every call that counts; when
// the program was killed, the last one was not carried out. The exit code is the
// program's, or 137.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

func main() {
	under := flag.String("under", "", "count only calls that change something below this directory")
	at := flag.Int("at", 0, "kill before this call; 0: never")
	log := flag.String("log", os.DevNull, "where to list the calls")
	flag.Parse()
	code, err := run(*under, *at, *log, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "killat:", err)
		os.Exit(125)
	}
	os.Exit(code)
}

func run(under string, at int, log string, argv []string) (code int, err error) {
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
	runtime.LockOSThread() // the tracer is a thread
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	pid := cmd.Process.Pid
	count := 0
	return trace(pid, func(tid int) {
		call, path := enters(tid)
		if call == "" || !strings.HasPrefix(path, under+"/") {
			return
		}
		count++
		_, _ = fmt.Fprintln(lines, call, strings.TrimPrefix(path, under))
		if count == at {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
}

// trace runs a stopped process to its end and calls visit when a thread of it is about
// to carry out a system call.
func trace(pid int, visit func(tid int)) (code int, err error) {
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return 0, fmt.Errorf("wait: %w", err)
	}
	options := unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
		unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return 0, fmt.Errorf("ptrace: %w", err)
	}
	started := map[int]bool{pid: true}
	for tid := pid; ; {
		deliver := 0
		switch signal := status.StopSignal(); {
		case !status.Stopped():
		case signal == unix.SIGTRAP|0x80:
			visit(tid)
		case signal == unix.SIGTRAP: // an event, or the exec at the start
		case signal == unix.SIGSTOP && !started[tid]: // a new thread
		default:
			deliver = int(signal)
		}
		if status.Stopped() {
			started[tid] = true
			// Fails only for a thread that is being killed.
			_ = unix.PtraceSyscall(tid, deliver)
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

// argument says which argument of a call is its path; those of fds are descriptors.
var (
	paths = map[uint64]struct {
		name     string
		argument int
	}{
		unix.SYS_OPENAT: {"openat", 1}, unix.SYS_RENAMEAT: {"renameat", 1}, unix.SYS_RENAMEAT2: {"renameat2", 1},
		unix.SYS_UNLINKAT: {"unlinkat", 1}, unix.SYS_MKDIRAT: {"mkdirat", 1}, unix.SYS_SYMLINKAT: {"symlinkat", 2},
		unix.SYS_LINKAT: {"linkat", 3}, unix.SYS_FCHMODAT: {"fchmodat", 1}, unix.SYS_FCHOWNAT: {"fchownat", 1},
		unix.SYS_SETXATTR: {"setxattr", 0}, unix.SYS_LSETXATTR: {"lsetxattr", 0}, unix.SYS_TRUNCATE: {"truncate", 0},
	}
	fds = map[uint64]string{
		unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
		unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHOWN: "fchown", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FSETXATTR: "fsetxattr",
	}
)

// enters returns a call that could change something and the path that it is about;
// nothing for any other call, and when a call returns.
func enters(tid int) (call, path string) {
	nr, args, entry := syscallInfo(tid)
	if !entry {
		return "", ""
	}
	if name, ok := fds[nr]; ok {
		path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, args[0]))
		if err != nil {
			return "", ""
		}
		return name, path
	}
	p, ok := paths[nr]
	if !ok || nr == unix.SYS_OPENAT && args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) == 0 {
		return "", ""
	}
	return p.name, filepath.Clean(readString(tid, uintptr(args[p.argument])))
}

func readString(tid int, address uintptr) string {
	var out []byte
	word := make([]byte, 8)
	for len(out) < unix.PathMax {
		if _, err := unix.PtracePeekData(tid, address+uintptr(len(out)), word); err != nil {
			break
		}
		for _, b := range word {
			if b == 0 {
				return string(out)
			}
			out = append(out, b)
		}
	}
	return string(out)
}
