package agent

import (
	"fmt"
	"runtime"
	"unsafe"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// architectures by which a filter knows that system calls have the numbers it expects.
var architectures = map[string]uint32{"amd64": unix.AUDIT_ARCH_X86_64, "arm64": unix.AUDIT_ARCH_AARCH64}

// Offsets in struct seccomp_data. Only the low half of an argument is read, which holds all
// flags: both architectures are little-endian.
const (
	offsetNumber       = 0
	offsetArchitecture = 4
	offsetArguments    = 16
)

// x32 marks system calls of another ABI with other numbers, on amd64.
const x32 = 0x40000000

// firstUnknown is the first of the system calls (mount_setattr, of Linux 5.12) that an agent
// needs neither now nor later, and to which new ones are added. From 424 on their numbers
// are the same everywhere.
const firstUnknown = 442

// forWriting are the flags of open with which a file is changed.
const forWriting = unix.O_WRONLY | unix.O_RDWR | unix.O_CREAT | unix.O_TRUNC

// Requests of ioctl that change a file which is open for reading.
const (
	setFlags      = 0x40086602 // FS_IOC_SETFLAGS
	setAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
)

// never lists the system calls that an agent does not make: they start programs, read other
// processes, change files or open them in another way, or hide such calls, as io_uring does.
var never = []uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT, unix.SYS_PTRACE, unix.SYS_IO_URING_SETUP, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT, unix.SYS_SYMLINKAT, unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_MKNODAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_FCHOWN, unix.SYS_FCHOWNAT, unix.SYS_TRUNCATE, unix.SYS_UTIMENSAT,
	unix.SYS_SETXATTR, unix.SYS_LSETXATTR, unix.SYS_FSETXATTR, unix.SYS_REMOVEXATTR, unix.SYS_LREMOVEXATTR, unix.SYS_FREMOVEXATTR,
}

// ConfineProcess permanently prevents this process from changing files, opening Unix sockets
// and starting programs. A read-only mount is not enough: a file system that is mounted below
// it, such as etcd's own disk, can be written to, and sockets on it can be connected to. Those
// of the container runtime and of systemd give the rights of root.
//
// If the kernel has Landlock, it prevents the same, and access to other processes. It covers
// ways that the seccomp filter does not; the filter works on every kernel.
func ConfineProcess() error {
	if err := setLandlock(); err != nil {
		return err
	}
	return setFilter()
}

// setLandlock has the kernel refuse every change below "/". A kernel without Landlock does
// nothing, and one with an older version refuses the changes that this version covers.
func setLandlock() error {
	if err := landlock.V5.BestEffort().RestrictPaths(landlock.RODirs("/")); err != nil {
		return fmt.Errorf("confine process with Landlock: %w", err)
	}
	return nil
}

func setFilter() error {
	arch, known := architectures[runtime.GOARCH]
	if !known {
		return fmt.Errorf("confine process: not supported on %s", runtime.GOARCH)
	}
	program := buildFilter(arch)
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]} //nolint:gosec // some dozens

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

// buildFilter refuses calls with EPERM; other calls are allowed. openat2, whose flags are in
// memory, and calls of later kernels fail with ENOSYS.
func buildFilter(arch uint32) []unix.SockFilter {
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	give := func(verdict uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: verdict}
	}
	const (
		refuse  = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
		unknown = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	)
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
		jump(unix.BPF_JGE, firstUnknown, 0, 1),
		give(unknown),
		jump(unix.BPF_JEQ, unix.SYS_OPENAT2, 0, 1),
		give(unknown),
	}
	for _, number := range append(never, neverHere...) {
		out = append(out, jump(unix.BPF_JEQ, number, 0, 1), give(refuse))
	}
	// one decides by an argument of a call; it must be the last rule for the number of the
	// call.
	one := func(number, argument uint32, kind uint16, values ...uint32) {
		rest := []unix.SockFilter{load(offsetArguments + 8*argument)}
		for _, v := range values {
			rest = append(rest, jump(kind, v, 0, 1), give(refuse))
		}
		rest = append(rest, give(unix.SECCOMP_RET_ALLOW))
		out = append(append(out, jump(unix.BPF_JEQ, number, 0, uint8(len(rest)))), rest...) //nolint:gosec // a handful
	}
	one(unix.SYS_SOCKET, 0, unix.BPF_JEQ, unix.AF_UNIX)
	one(unix.SYS_OPENAT, 2, unix.BPF_JSET, forWriting)
	one(unix.SYS_IOCTL, 1, unix.BPF_JEQ, setFlags, setAttributes)
	for number, argument := range openHere {
		one(number, argument, unix.BPF_JSET, forWriting)
	}
	return append(out, give(unix.SECCOMP_RET_ALLOW))
}
