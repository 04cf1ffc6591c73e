package hostfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// pathOnly opens a file for its attributes alone, which needs no permission on it.
const pathOnly = unix.O_PATH

// openInRoot opens a host path for reading, its symlinks resolved by the kernel as the host
// would (openat2 with RESOLVE_IN_ROOT, since Linux 5.6). That takes one system call where
// LocalPath takes one for each component, and no symlink can be changed meanwhile. ok is false
// if the kernel or a seccomp filter does not support it.
func (r Root) openInRoot(hostPath string, flags int) (f *os.File, ok bool, err error) {
	root, err := unix.Open(r.rootDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, nil //nolint:nilerr // the other way returns the error
	}
	defer func() { _ = unix.Close(root) }()
	how := &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: unix.RESOLVE_IN_ROOT} //nolint:gosec // flags are small and positive
	fd, err := unix.Openat2(root, hostPath, how)
	switch err {
	case nil:
		return os.NewFile(uintptr(fd), hostPath), true, nil
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN, unix.E2BIG, unix.EINVAL, unix.EINTR:
		return nil, false, nil
	}
	return nil, true, err
}
