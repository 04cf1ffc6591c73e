package bus

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/gofrs/flock"
)

// lockName is in StoreDir, beside the store, which may be set aside.
const lockName = "lock"

var errInUse = errors.New("another watcher uses it")

// lock takes the directory for this process: two servers would ruin each other's store. It
// ends with the process, however that ends. A file system that has no locks is used
// without.
func (e *embedded) lock() error {
	if e.unlock != nil {
		return nil
	}
	dir := e.config.StoreDir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	held := flock.New(filepath.Join(dir, lockName))
	ours, err := held.TryLock()
	switch {
	case errors.Is(err, errors.ErrUnsupported), errors.Is(err, syscall.ENOLCK):
		e.log.Warn("the file system of the embedded NATS server's store has no locks: see to it that no other watcher uses it", "directory", dir, "error", err)
		e.unlock = func() error { return nil }
		return nil
	case err != nil:
		return err
	case !ours:
		return fmt.Errorf("use store %q: %w\nhint: end that one, or give this one another directory with --store", dir, errInUse)
	}
	e.unlock = held.Unlock
	return nil
}
