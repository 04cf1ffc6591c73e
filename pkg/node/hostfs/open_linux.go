package hostfs

import (
	"errors"

	"golang.org/x/sys/unix"
)

// pathOnly opens a file for its attributes alone, which needs no permission on it.
const pathOnly = unix.O_PATH

// openInRoot opens a host path, its symlinks resolved by the kernel as the host would (openat2,
// since Linux 5.6), so that no symlink can be changed meanwhile. It takes one system call for a
// path without symlinks, which most are. ok is false if the kernel or a seccomp filter does not
// support it.
func (r Root) openInRoot(hostPath string, flags int) (fd int, ok bool, err error) {
	if p, plain := r.plainPath(hostPath); plain {
		fd, ok, err = openResolved(unix.AT_FDCWD, p, flags, unix.RESOLVE_NO_SYMLINKS)
		if !errors.Is(err, unix.ELOOP) {
			return fd, ok, err
		}
	}
	root, err := unix.Open(r.rootDir(), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, false, nil //nolint:nilerr // the other way returns the error
	}
	defer func() { _ = unix.Close(root) }()
	return openResolved(root, hostPath, flags, unix.RESOLVE_IN_ROOT)
}

// openResolved calls openat2; ok is false if it is not supported, or was interrupted.
func openResolved(dir int, path string, flags int, resolve uint64) (fd int, ok bool, err error) {
	how := &unix.OpenHow{Flags: uint64(flags | unix.O_CLOEXEC), Resolve: resolve} //nolint:gosec // flags are small and positive
	fd, err = unix.Openat2(dir, path, how)
	switch err {
	case nil:
		return fd, true, nil
	case unix.ENOSYS, unix.EPERM, unix.EAGAIN, unix.E2BIG, unix.EINVAL, unix.EINTR:
		return -1, false, nil
	}
	return -1, true, err
}

// hasNoSymlink reports whether no component of a local path is a symlink, as far as the path
// exists; false if that cannot be determined.
func hasNoSymlink(path string) bool {
	fd, ok, err := openResolved(unix.AT_FDCWD, path, unix.O_PATH, unix.RESOLVE_NO_SYMLINKS)
	if ok && err == nil {
		_ = unix.Close(fd)
	}
	return ok && (err == nil || errors.Is(err, unix.ENOENT))
}
