// Package etcdcopy copies the data of an etcd member that is down or has no quorum, before a
// recovery changes anything: a copy to return to, should the recovery damage the member.
package etcdcopy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// spareBytes must remain free besides as much again as the copy takes: etcd itself needs
// room, usually on the same disk.
const spareBytes = 1 << 30

// ErrWritten means that the data was written to at all times, so that no copy is consistent.
var ErrWritten = errors.New("etcd writes to it all the time: it has its quorum")

// CopyTo copies directories of etcd into the directory to, each under its base name, with owners
// and modes; a directory of the member behind a link is copied in the place of the link. It stops no process: the copy is kept only if no file was written to from a second
// before it to its end, so that it is equal to the data of a member stopped at that moment.
// Paths are those of this process. It returns the size in bytes. The directory to exists only if
// the copy is complete; it must not exist before.
func CopyTo(ctx context.Context, to string, resolve Resolver, directories ...string) (size int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, nodeapi.EtcdCopyLimit, fmt.Errorf("it took more than %s", nodeapi.EtcdCopyLimit))
	defer cancel()
	partial := to + statedir.PartialSuffix
	defer func() { err = errors.Join(err, os.RemoveAll(partial)) }()
	for began := time.Now(); ; {
		size, err = copyOnce(ctx, partial, resolve, directories)
		if err == nil {
			err = os.Rename(partial, to)
			return size, errors.Join(err, statedir.SyncDir(filepath.Dir(to)))
		}
		// A member without quorum writes nothing. One with it writes all the time, and is not
		// waited for any longer.
		if !errors.Is(err, ErrWritten) || time.Since(began) > 10*time.Second {
			return 0, err
		}
	}
}

// CheckCopy returns an error if [CopyTo] could not copy the directories now: they cannot be read,
// have no log, or the disk has no space for a copy. A member without any file has nothing to lose.
// It changes nothing.
func CheckCopy(to string, resolve Resolver, directories ...string) error {
	if len(directories) > 0 && !slices.ContainsFunc(directories, mayHaveFiles) {
		return nil
	}
	entries, err := listAll(resolve, directories)
	if errors.Is(err, ErrWritten) {
		return nil
	}
	if err == nil {
		err = requireLog(entries)
	}
	if err != nil {
		return err
	}
	return requireSpace(filepath.Dir(to), sizeOf(entries))
}

// mayHaveFiles reports whether a directory has files or cannot be read; not if it is missing or empty.
func mayHaveFiles(directory string) bool {
	entries, err := os.ReadDir(directory)
	return len(entries) > 0 || err != nil && !errors.Is(err, fs.ErrNotExist)
}

// copyOnce fails with ErrWritten where something is written just before the copy or during it.
func copyOnce(ctx context.Context, to string, resolve Resolver, directories []string) (size int64, err error) {
	earlier, err := listAll(resolve, directories)
	if err != nil {
		return 0, err
	}
	// This is more than the granularity of a file's time, so that every later write changes that
	// time.
	if wait.SleepFor(ctx, time.Second) != nil {
		return 0, context.Cause(ctx)
	}
	before, err := listAgain(resolve, directories, earlier)
	if err != nil {
		return 0, err
	}
	if err := requireLog(before); err != nil {
		return 0, err
	}
	size = sizeOf(before)
	if err := os.RemoveAll(to); err != nil {
		return 0, err
	}
	if err := requireSpace(filepath.Dir(to), size); err != nil {
		return 0, err
	}
	if err := statedir.MkdirAll(to); err != nil {
		return 0, err
	}
	for _, e := range before {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err := e.copyBelow(to); err != nil {
			return 0, err
		}
	}
	_, err = listAgain(resolve, directories, before)
	return size, err
}

// entry is a file or directory of etcd's data.
type entry struct {
	path     string // as this process reaches it
	below    string // relative to the copy
	size     int64
	modified time.Time
	mode     fs.FileMode
	uid      int
	gid      int
	inode    uint64
}

func sizeOf(entries []entry) (size int64) {
	for _, e := range entries {
		size += e.size
	}
	return size
}

// listAgain is [listAll], and fails with ErrWritten where the list is not that of before.
func listAgain(resolve Resolver, directories []string, before []entry) ([]entry, error) {
	now, err := listAll(resolve, directories)
	if err == nil && !slices.Equal(before, now) {
		err = ErrWritten
	}
	return now, err
}

// removedMeanwhile makes ErrWritten of the error that a file is missing which was there a moment
// before: etcd removes old ones.
func removedMeanwhile(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrWritten
	}
	return err
}

func describe(path string) (entry, error) {
	var stat unix.Stat_t
	if err := unix.Lstat(path, &stat); err != nil {
		return entry{}, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	e := entry{path: path, modified: time.Unix(stat.Mtim.Unix()), mode: fs.FileMode(stat.Mode & 0o777),
		uid: int(stat.Uid), gid: int(stat.Gid), inode: stat.Ino}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		e.mode |= fs.ModeDir
	case unix.S_IFREG:
		e.size = stat.Size
	default:
		return entry{}, fmt.Errorf("%q is neither a file nor a directory", path)
	}
	return e, nil
}

// copyBelow copies one entry, and has it written to the disk.
func (e entry) copyBelow(to string) (err error) {
	target := filepath.Join(to, e.below)
	if e.mode.IsDir() {
		if err := os.Mkdir(target, e.mode.Perm()|0o700); err != nil {
			return err
		}
		return os.Chown(target, e.uid, e.gid)
	}
	in, err := os.Open(e.path)
	if err != nil {
		return removedMeanwhile(err)
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(target, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.mode.Perm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	if _, err := out.ReadFrom(in); err != nil { // copy_file_range, which shares the blocks where the disk can
		return err
	}
	if err := out.Chown(e.uid, e.gid); err != nil {
		return err
	}
	return out.Sync()
}

// requireSpace refuses a copy that would leave etcd without room.
func requireSpace(directory string, size int64) error {
	var disk unix.Statfs_t
	if err := unix.Statfs(directory, &disk); err != nil {
		return &fs.PathError{Op: "statfs", Path: directory, Err: err}
	}
	//nolint:gosec,unconvert // the types differ by platform; a disk has less than 2^63 bytes
	free := int64(disk.Bavail) * int64(disk.Bsize)
	if free < 2*size+spareBytes {
		return fmt.Errorf("it has %d MiB, so its copy needs %d MiB free on the disk of %q, which has only %d MiB",
			size>>20, (2*size+spareBytes)>>20, directory, free>>20)
	}
	return nil
}
