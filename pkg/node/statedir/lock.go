package statedir

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Holder names the process that works on a node.
type Holder struct {
	Rotation string    `json:"rotation"`
	PID      int       `json:"pid"` // within its own container
	Since    time.Time `json:"since"`
}

// LockedError means that another process works on this node.
type LockedError struct{ Holder Holder }

func (e *LockedError) Error() string {
	return fmt.Sprintf("rotation %q has been in progress on this node since %s", e.Holder.Rotation, e.Holder.Since.Format(time.RFC3339))
}

// Hint returns the next step; see package hint.
func (e *LockedError) Hint() string { return "wait for its end, or delete its pod" }

// TakeLock makes this process the only one that works on the node, until release is called or
// the process ends. It waits for another holder until ctx ends, then fails with a
// [*LockedError].
//
// The lock is an open-file-description lock: it works across containers, is released when its
// process ends, and can be read without being taken.
func (d *Dir) TakeLock(ctx context.Context, holder Holder) (release func(), err error) {
	f, err := os.OpenFile(d.lockPath(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of %q: %w", HostPath, err)
	}
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EACCES) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %q: %w", HostPath, err)
		}
		if wait.SleepFor(ctx, 100*time.Millisecond) != nil {
			other := readHolder(f)
			_ = f.Close()
			return nil, &LockedError{Holder: other}
		}
	}
	// For messages only: the kernel knows the holder of the lock.
	data, err := json.Marshal(holder)
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("lock %q: %w", HostPath, err)
	}
	return func() { _ = f.Close() }, nil
}

func (d *Dir) lockPath() string { return filepath.Join(d.path, "lock") }

// CurrentHolder reports whether a process works on the node, and for which rotation. It makes no
// state directory.
func CurrentHolder(root hostfs.Root) (Holder, bool, error) {
	d, err := dirAt(root)
	if err != nil {
		return Holder{}, false, err
	}
	holder, held, err := d.lockHolder()
	if err != nil {
		return Holder{}, false, fmt.Errorf("read the lock of %q: %w", HostPath, err)
	}
	return holder, held, nil
}

// lockHolder reports whether a process works on the node, and for which rotation.
func (d *Dir) lockHolder() (Holder, bool, error) {
	f, err := os.Open(d.lockPath())
	if errors.Is(err, os.ErrNotExist) {
		return Holder{}, false, nil
	}
	if err != nil {
		return Holder{}, false, err
	}
	defer func() { _ = f.Close() }()
	query := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &query); err != nil {
		return Holder{}, false, err
	}
	if query.Type == unix.F_UNLCK {
		return Holder{}, false, nil
	}
	return readHolder(f), true, nil
}

func readHolder(f *os.File) Holder {
	var h Holder
	data := make([]byte, 4096)
	n, err := f.ReadAt(data, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return h
	}
	// The holder may be writing its name at this moment: it stays unnamed then.
	_ = json.Unmarshal(data[:n], &h)
	return h
}
