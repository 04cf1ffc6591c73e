//go:build linux

package main

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// info is struct ptrace_syscall_info of linux/ptrace.h, since Linux 5.3: the same on
// every architecture, which registers are not.
type info struct {
	op   uint8
	_    [3]uint8
	_    uint32 // arch
	_, _ uint64 // instruction and stack pointer
	nr   uint64
	args [6]uint64
	_    [2]uint64
}

const (
	getSyscallInfo = 0x420e
	opSeccomp      = 3
)

// syscallInfo returns the system call before which a thread is stopped.
func syscallInfo(tid int) (nr uint64, args [6]uint64, ok bool) {
	var i info
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, getSyscallInfo, uintptr(tid), unsafe.Sizeof(i), uintptr(unsafe.Pointer(&i)), 0, 0) //nolint:gosec // a system call that package unix lacks
	return i.nr, i.args, errno == 0 && i.op == opSeccomp
}
