package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// aclAttribute is an attribute that a new file may inherit from its directory
// although the file it replaces has none.
const aclAttribute = "system.posix_acl_access"

// permissions holds the bits of the mode that chmod sets.
const permissions = 0o7777

// attributes of a file stay when its content is replaced.
type attributes struct {
	Mode   uint32            `json:"mode"` // permission bits, setuid, setgid and sticky included
	UID    int               `json:"uid"`
	GID    int               `json:"gid"`
	Xattrs map[string][]byte `json:"xattrs,omitempty"` // SELinux label, ACL, user attributes
}

func (a attributes) isEqual(b attributes) bool {
	if a.Mode != b.Mode || a.UID != b.UID || a.GID != b.GID || len(a.Xattrs) != len(b.Xattrs) {
		return false
	}
	for name, value := range a.Xattrs {
		other, ok := b.Xattrs[name]
		if !ok || !bytes.Equal(value, other) {
			return false
		}
	}
	return true
}

// isCarried reports whether an attribute is copied to a file with other content. IMA and EVM
// hold signatures of the content: with new content they would make the file unreadable.
func isCarried(xattr string) bool {
	return xattr != "security.ima" && xattr != "security.evm"
}

// snapshot is a file at one moment.
type snapshot struct {
	data []byte
	attr attributes
}

// takeSnapshot reads a regular file and its attributes through one descriptor, so
// that both are the same file's. It follows no symlink in the last component.
func takeSnapshot(local string) (snapshot, error) {
	f, err := os.OpenFile(local, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if err != nil {
		return snapshot{}, bareError(err)
	}
	defer func() { _ = f.Close() }()
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return snapshot{}, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return snapshot{}, hostfs.ErrNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, hostfs.MaxFile+1))
	if err != nil {
		return snapshot{}, bareError(err)
	}
	if len(data) > hostfs.MaxFile {
		return snapshot{}, hostfs.ErrTooLarge
	}
	xattrs, err := readXattrs(fileXattrs(f))
	if err != nil {
		return snapshot{}, err
	}
	mode := uint32(st.Mode) & permissions //nolint:unconvert // 16 bits on other systems than Linux
	return snapshot{data, attributes{mode, int(st.Uid), int(st.Gid), xattrs}}, nil
}

// setOn sets attributes on a file that this process has just made.
func (a attributes) setOn(f *os.File) error {
	// Owner first: changing it clears setuid bits. The ACL last: chmod changes it.
	if err := f.Chown(a.UID, a.GID); err != nil {
		return fmt.Errorf("set owner %d:%d: %w", a.UID, a.GID, bareError(err))
	}
	if err := unix.Fchmod(int(f.Fd()), a.Mode); err != nil {
		return fmt.Errorf("set mode %04o: %w", a.Mode, err)
	}
	if err := setXattrs(fileXattrs(f), a.Xattrs); err != nil {
		return err
	}
	if _, wanted := a.Xattrs[aclAttribute]; !wanted {
		err := unix.Fremovexattr(int(f.Fd()), aclAttribute)
		if err != nil && !errors.Is(err, unix.ENODATA) && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("remove inherited attribute %q: %w", aclAttribute, err)
		}
	}
	return nil
}

// xattrCalls are the system calls on extended attributes, of an open file or of a
// symlink itself.
type xattrCalls struct {
	list func(dest []byte) (int, error)
	get  func(name string, dest []byte) (int, error)
	set  func(name string, value []byte) error
}

func fileXattrs(f *os.File) xattrCalls {
	fd := int(f.Fd())
	return xattrCalls{
		list: func(dest []byte) (int, error) { return unix.Flistxattr(fd, dest) },
		get:  func(name string, dest []byte) (int, error) { return unix.Fgetxattr(fd, name, dest) },
		set:  func(name string, value []byte) error { return unix.Fsetxattr(fd, name, value, 0) },
	}
}

func linkXattrs(path string) xattrCalls {
	return xattrCalls{
		list: func(dest []byte) (int, error) { return unix.Llistxattr(path, dest) },
		get:  func(name string, dest []byte) (int, error) { return unix.Lgetxattr(path, name, dest) },
		set:  func(name string, value []byte) error { return unix.Lsetxattr(path, name, value, 0) },
	}
}

// readXattrs returns the attributes to copy; none if the file system has no attributes.
func readXattrs(calls xattrCalls) (map[string][]byte, error) {
	names, err := growBuffer(calls.list)
	if errors.Is(err, unix.ENOTSUP) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	var out map[string][]byte
	for name := range strings.SplitSeq(string(names), "\x00") {
		if name == "" || !isCarried(name) {
			continue
		}
		value, err := growBuffer(func(dest []byte) (int, error) { return calls.get(name, dest) })
		if err != nil {
			return nil, fmt.Errorf("read attribute %q: %w", name, err)
		}
		if out == nil {
			out = map[string][]byte{}
		}
		out[name] = value
	}
	return out, nil
}

// setXattrs sets the attributes that differ: a label that the kernel set automatically needs no
// call, which may require a capability that a node pod lacks.
func setXattrs(calls xattrCalls, want map[string][]byte) error {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		have, err := growBuffer(func(dest []byte) (int, error) { return calls.get(name, dest) })
		if err == nil && bytes.Equal(have, want[name]) {
			continue
		}
		if err := calls.set(name, want[name]); err != nil {
			return fmt.Errorf("set attribute %q: %w", name, err)
		}
	}
	return nil
}

// growBuffer calls a function that fills a buffer, with a larger buffer until it suffices.
func growBuffer(call func(dest []byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		buf := make([]byte, size)
		n, err := call(buf)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return buf[:n], nil
	}
}
