package agent

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// architectures by which a filter knows that system calls have the numbers it expects.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// Offsets in struct seccomp_data.
const (
	offsetNumber       = 0
	offsetArchitecture = 4
	offsetFirst        = 16 // the low half of the first argument, on little-endian machines
)

// x32 marks system calls of another ABI with other numbers, on amd64.
const x32 = 0x40000000

// Confine takes from this process, for good, what an agent never does: opening Unix
// sockets and starting programs. Sockets of the container runtime and of systemd are
// root's on the node, connecting to one needs no writable mount, and no list of mounts
// keeps away those that a later version of anything will have.
func Confine() error {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		return fmt.Errorf("confine process: not known how on %s", runtime.GOARCH)
	}
	program := filter(arch)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // a dozen

	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("confine process: %w", err)
	}
	// On all threads at once.
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC,
		uintptr(unsafe.Pointer(&prog))) //nolint:gosec // how the kernel is given a program
	runtime.KeepAlive(program)
	if errno != 0 {
		return fmt.Errorf("confine process: %w", errno)
	}
	return nil
}

// filter refuses with EPERM; what it does not name stays as it is.
func filter(arch uint32) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	give := func(verdict uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
	}
	const refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	jump := func(kind uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | kind | unix.BPF_K, K: k, Jt: yes, Jf: no}
	}
	out := []unix.SockFilter{
		load(offsetArchitecture),
		jump(unix.BPF_JEQ, arch, 1, 0),
		give(refuse),
		load(offsetNumber),
		jump(unix.BPF_JGE, x32, 0, 1),
		give(refuse),
	}
	// io_uring opens sockets without the system call for it.
	for _, number := range []uint32{unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_IO_URING_SETUP, unix.SYS_PTRACE} {
		out = append(out, jump(unix.BPF_JEQ, number, 0, 1), give(refuse))
	}
	return append(out,
		jump(unix.BPF_JEQ, unix.SYS_SOCKET, 0, 3),
		load(offsetFirst),
		jump(unix.BPF_JEQ, unix.AF_UNIX, 0, 1),
		give(refuse),
		give(unix.SECCOMP_RET_ALLOW),
	)
}
