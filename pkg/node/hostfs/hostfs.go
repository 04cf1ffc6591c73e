// Package hostfs reads a host's files under a prefix: "/" on the host itself, the
// mount point of the host's root in a node pod. Symlinks are resolved as the host
// would, so an absolute link never escapes the prefix.
package hostfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	securejoin "github.com/cyphar/filepath-securejoin"
	"golang.org/x/sys/unix"
)

// MaxFile limits the size of a file that is read: certificates, kubeconfigs, manifests and
// units are far smaller, and a hostile file cannot exhaust memory.
const MaxFile = 4 << 20

// ErrNotRegular means that a path leads to a directory, FIFO, device or socket.
var ErrNotRegular = errors.New("not a regular file")

// ErrTooLarge means that a file exceeds [MaxFile].
var ErrTooLarge = fmt.Errorf("larger than %d bytes", MaxFile)

// Root is where the host's root directory is mounted.
type Root string

// LocalPath returns the path by which this process reaches a host path, with all symlinks
// resolved. The last component need not exist.
func (r Root) LocalPath(hostPath string) (string, error) {
	if p, ok := r.plainPath(hostPath); ok && hasNoSymlink(p) {
		return p, nil
	}
	return r.resolveByComponent(hostPath)
}

// resolveByComponent resolves symlinks one component after the other.
func (r Root) resolveByComponent(hostPath string) (string, error) {
	p, err := securejoin.SecureJoin(r.rootDir(), hostPath)
	if err != nil {
		return "", fmt.Errorf("resolve %q: %w", hostPath, err)
	}
	return p, nil
}

// plainPath returns the path at which a host path is if no component of it is a symlink; false
// for a path with "..", whose meaning depends on symlinks.
func (r Root) plainPath(hostPath string) (string, bool) {
	if strings.Contains(hostPath, "..") || strings.Contains(r.rootDir(), "..") {
		return "", false
	}
	return filepath.Join(r.rootDir(), hostPath), true
}

// LocalNoFollow is LocalPath, but leaves a symlink in the last component unresolved.
func (r Root) LocalNoFollow(hostPath string) (string, error) {
	dir, err := r.LocalPath(filepath.Dir(filepath.Clean(hostPath)))
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, filepath.Base(hostPath)), nil
}

// HostPath is the inverse of LocalPath: it returns the host path for a path of this process.
func (r Root) HostPath(local string) string {
	rel, err := filepath.Rel(r.rootDir(), local)
	if err != nil {
		return local
	}
	return filepath.Join("/", rel)
}

// ReadFile reads a regular file of at most [MaxFile] bytes. It never blocks on a
// FIFO. Errors wrap fs.ErrNotExist, [ErrNotRegular], [ErrTooLarge] or the system's.
func (r Root) ReadFile(hostPath string) ([]byte, error) {
	// Non-blocking, so that opening a FIFO returns; without a controlling terminal.
	fd, err := r.open(hostPath, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", hostPath, bareError(err))
	}
	defer func() { _ = unix.Close(fd) }()
	data, err := readRegular(fd)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", hostPath, bareError(err))
	}
	return data, nil
}

// readRegular reads a regular file of at most [MaxFile] bytes. The descriptor is used without
// an [os.File], which would take twice as many system calls.
func readRegular(fd int) ([]byte, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, ErrNotRegular
	}
	// The size is a hint: the file may grow, and some file systems do not know it.
	data := make([]byte, 0, min(max(stat.Size, 0), MaxFile)+512)
	for len(data) <= MaxFile {
		data = slices.Grow(data, 1)
		n, err := unix.Read(fd, data[len(data):cap(data)])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == 0:
			return data, nil
		default:
			data = data[:len(data)+n]
		}
	}
	return nil, ErrTooLarge
}

// open opens a host path and returns its descriptor.
func (r Root) open(hostPath string, flags int) (int, error) {
	if fd, ok, err := r.openInRoot(hostPath, flags); ok {
		return fd, err
	}
	return r.openByComponent(hostPath, flags)
}

// openByComponent resolves symlinks one component after the other.
func (r Root) openByComponent(hostPath string, flags int) (int, error) {
	p, err := r.resolveByComponent(hostPath)
	if err != nil {
		return -1, err
	}
	for {
		fd, err := unix.Open(p, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// ReadDir lists a directory's entries, sorted by name.
func (r Root) ReadDir(hostPath string) ([]fs.DirEntry, error) {
	p, err := r.LocalPath(hostPath)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(p)
	if err != nil {
		return nil, fmt.Errorf("list %q: %w", hostPath, bareError(err))
	}
	return entries, nil
}

// Stat follows symlinks.
func (r Root) Stat(hostPath string) (fs.FileInfo, error) {
	info, err := r.statPath(hostPath)
	if err != nil {
		return nil, fmt.Errorf("stat %q: %w", hostPath, bareError(err))
	}
	return info, nil
}

func (r Root) statPath(hostPath string) (fs.FileInfo, error) {
	if fd, ok, err := r.openInRoot(hostPath, pathOnly); ok {
		if err != nil {
			return nil, err
		}
		f := os.NewFile(uintptr(fd), hostPath)
		defer func() { _ = f.Close() }()
		return f.Stat()
	}
	p, err := r.resolveByComponent(hostPath)
	if err != nil {
		return nil, err
	}
	return os.Stat(p)
}

// bareError drops the mount prefix from an *fs.PathError: callers name the host path.
func bareError(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (r Root) rootDir() string {
	if r == "" {
		return "/"
	}
	return string(r)
}
