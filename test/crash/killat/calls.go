//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// call is a system call that could change something.
type call struct {
	Name   string
	Path   string   // its path, without symlinks resolved
	To     string   `json:",omitempty"` // the new name, or where a symlink leads
	Data   []byte   `json:",omitempty"` // of a write; not of large ones
	Number [3]int64 // the numbers among its arguments: offset, size, mode, owner, group, flags
}

// large is the size from which the data of a write is not copied.
const large = 1 << 20

type kind struct {
	name string
	dir  int // the argument that is the directory of a relative path; -1: none
	path int
}

var paths = map[uint64]kind{
	unix.SYS_OPENAT: {"openat", 0, 1}, unix.SYS_RENAMEAT: {"renameat", 0, 1}, unix.SYS_RENAMEAT2: {"renameat", 0, 1},
	unix.SYS_UNLINKAT: {"unlinkat", 0, 1}, unix.SYS_MKDIRAT: {"mkdirat", 0, 1}, unix.SYS_SYMLINKAT: {"symlinkat", 1, 2},
	unix.SYS_LINKAT: {"linkat", 2, 3}, unix.SYS_FCHMODAT: {"fchmodat", 0, 1}, unix.SYS_FCHOWNAT: {"fchownat", 0, 1},
	unix.SYS_SETXATTR: {"setxattr", -1, 0}, unix.SYS_LSETXATTR: {"lsetxattr", -1, 0}, unix.SYS_TRUNCATE: {"truncate", -1, 0},
}

var descriptors = map[uint64]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fsync",
	unix.SYS_FCHMOD: "fchmod", unix.SYS_FCHOWN: "fchown", unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FSETXATTR: "fsetxattr",
}

// enteredCall returns the call before which a thread is stopped; none when it could change
// nothing.
func enteredCall(tid int) (c call, ok bool) {
	nr, args, ok := syscallInfo(tid)
	if !ok {
		return c, false
	}
	if name, ok := descriptors[nr]; ok {
		c.Name = name
		c.Path = descriptorPath(tid, args[0])
		switch name {
		case "write", "pwrite64":
			c.Data = readBytes(tid, args[1], args[2])
			c.Number = [3]int64{int64(args[3]), int64(args[2])} //nolint:gosec // an offset
		default:
			c.Number = [3]int64{int64(args[1]), int64(args[2])} //nolint:gosec // a mode, an owner, a size
		}
		return c, c.Path != ""
	}
	k, ok := paths[nr]
	if !ok {
		return c, false
	}
	c.Name = k.name
	c.Path = absolutePath(tid, args, k.dir, k.path)
	switch k.name {
	case "openat":
		c.Number = [3]int64{int64(args[3]), int64(args[2])} //nolint:gosec // mode, flags
		return c, args[2]&(unix.O_WRONLY|unix.O_RDWR|unix.O_CREAT) != 0
	case "renameat":
		c.To = absolutePath(tid, args, 2, 3)
	case "symlinkat":
		c.To = readString(tid, args[0])
	default:
		c.Number = [3]int64{int64(args[2]), int64(args[3])} //nolint:gosec // mode, owner, flags
	}
	return c, true
}

// absolutePath returns the absolute path that a pair of arguments means.
func absolutePath(tid int, args [6]uint64, dir, path int) string {
	name := readString(tid, args[path])
	if dir >= 0 && !filepath.IsAbs(name) && int32(args[dir]) != unix.AT_FDCWD { //nolint:gosec // as the kernel takes it
		name = filepath.Join(descriptorPath(tid, args[dir]), name)
	}
	return filepath.Clean(name)
}

func descriptorPath(tid int, fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tid, fd))
	if err != nil {
		return ""
	}
	return path
}

// readString reads a string that ends with a zero byte, a page at a time: the next one may
// not be there.
func readString(tid int, address uint64) string {
	const page = 4096
	var out []byte
	for len(out) < unix.PathMax {
		at := address + uint64(len(out))
		part := readBytes(tid, at, page-at%page)
		if end := bytes.IndexByte(part, 0); end >= 0 || part == nil {
			return string(append(out, part[:max(end, 0)]...))
		}
		out = append(out, part...)
	}
	return string(out)
}

// readBytes reads the memory of a process by one call, where ptrace takes one for each word.
func readBytes(tid int, address, size uint64) []byte {
	if size == 0 || size > large {
		return nil
	}
	out := make([]byte, size)
	local := []unix.Iovec{{Base: &out[0]}}
	local[0].SetLen(len(out))
	n, err := unix.ProcessVMReadv(tid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: len(out)}}, 0)
	if err != nil {
		return nil
	}
	return out[:n]
}
