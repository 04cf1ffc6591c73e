// Package hostfs reads a host's files under a prefix: "/" on the host itself, the
// mount point of the host's root in a node pod. Symlinks are resolved as the host
// would, so an absolute link never escapes the prefix.
package hostfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

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
	p, err := securejoin.SecureJoin(r.rootDir(), hostPath)
	if err != nil {
		return "", fmt.Errorf("resolve %q: %w", hostPath, err)
	}
	return p, nil
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
	f, err := r.open(hostPath, os.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY)
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", hostPath, bareError(err))
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", hostPath, bareError(err))
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("read %q: %w", hostPath, ErrNotRegular)
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", hostPath, bareError(err))
	}
	if len(data) > MaxFile {
		return nil, fmt.Errorf("read %q: %w", hostPath, ErrTooLarge)
	}
	return data, nil
}

// open opens a host path for reading.
func (r Root) open(hostPath string, flags int) (*os.File, error) {
	if f, ok, err := r.openInRoot(hostPath, flags); ok {
		return f, err
	}
	return r.openByComponent(hostPath, flags)
}

// openByComponent resolves symlinks one component after the other.
func (r Root) openByComponent(hostPath string, flags int) (*os.File, error) {
	p, err := r.LocalPath(hostPath)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(p, flags, 0)
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
	if f, ok, err := r.openInRoot(hostPath, pathOnly); ok {
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		return f.Stat()
	}
	p, err := r.LocalPath(hostPath)
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
