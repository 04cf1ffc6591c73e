package bus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// lockName is in StoreDir, beside the store, which may be deleted.
const lockName = "lock"

var errInUse = errors.New("another watcher uses it")

// lockStore locks the store for this process: two servers would damage it. The kernel drops
// the lock when the process ends. A file system without locks is used without one.
func (e *embedded) lockStore() error {
	if e.locked != nil {
		return nil
	}
	directory := e.config.StoreDir
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(directory, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	switch {
	case errors.Is(err, syscall.EWOULDBLOCK):
		_ = file.Close() // nothing was written
		return hint.AddTo(fmt.Errorf("use store %q: %w", directory, errInUse), "stop the other watcher, or give this one another directory with --store")
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOLCK):
		e.log.Warn("the file system of the embedded NATS server's store has no locks; no other watcher may use it", "directory", directory, "error", err)
	case err != nil:
		_ = file.Close() // nothing was written
		return fmt.Errorf("lock store %q: %w", directory, err)
	}
	e.locked = file
	return nil
}
