package statedir

import (
	"context"
	"time"

	"github.com/fsnotify/fsnotify"
)

// watcher signals when to read a directory again.
type watcher struct {
	notify *fsnotify.Watcher // nil: polling only
}

// watchDirs begins to watch directories. It never fails: directories that cannot be watched are
// polled.
func watchDirs(dirs ...string) *watcher {
	n, err := fsnotify.NewWatcher()
	if err != nil {
		return &watcher{}
	}
	for _, dir := range dirs {
		if err := n.Add(dir); err != nil {
			_ = n.Close()
			return &watcher{}
		}
	}
	return &watcher{notify: n}
}

// waitChange returns when something may have changed, or with the context's error.
func (w *watcher) waitChange(ctx context.Context) error {
	// Some file systems have no notifications, and the kernel's limit of watches may be reached.
	timer := time.NewTimer(500 * time.Millisecond)
	defer timer.Stop()
	var events <-chan fsnotify.Event
	var problems <-chan error
	if w.notify != nil {
		events = w.notify.Events
		problems = w.notify.Errors
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-events:
	case <-problems: //nolint:errcheck // an overflow: the directory is read again anyway
	case <-timer.C:
	}
	return nil
}

func (w *watcher) close() {
	if w.notify != nil {
		_ = w.notify.Close()
	}
}

// WaitOrders returns the orders after a number as soon as there are some, or the
// context's error.
func (r *Rotation) WaitOrders(ctx context.Context, after int64) ([]Order, error) {
	w := watchDirs(r.ordersDir())
	defer w.close()
	for {
		orders, err := r.OrdersAfter(after)
		if err != nil || len(orders) > 0 {
			return orders, err
		}
		if err := w.waitChange(ctx); err != nil {
			return nil, err
		}
	}
}
