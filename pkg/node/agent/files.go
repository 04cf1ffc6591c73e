package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"github.com/fsnotify/fsnotify"

	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// files watches directories: a file that is replaced is another one, its directory
// stays. Its methods may be called on nil, which watches nothing.
type files struct {
	root    hostfs.Root
	watcher *fsnotify.Watcher
	// watched holds the identity of each directory when its watch began: another one may
	// replace it.
	watched map[string]identity
	changed chan struct{}
	done    chan struct{}
}

// identity distinguishes a directory from another one of the same name.
type identity struct{ device, inode uint64 }

func newFiles(root hostfs.Root) (*files, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	f := &files{root: root, watcher: w, watched: map[string]identity{}, changed: make(chan struct{}, 1), done: make(chan struct{})}
	go f.collectEvents()
	return f, nil
}

// changeEvents receives once after any number of changes.
func (f *files) changeEvents() <-chan struct{} {
	if f == nil {
		return nil
	}
	return f.changed
}

func (f *files) closeAll() {
	_ = f.watcher.Close()
	<-f.done
}

// collectEvents turns the kernel's events into a single notification. Errors as well: a queue
// that overflowed has lost events.
func (f *files) collectEvents() {
	defer close(f.done)
	for {
		select {
		case event, ok := <-f.watcher.Events:
			if !ok {
				return
			}
			if event.Op == fsnotify.Chmod {
				// Reads are no changes. Modes and owners are no part of a report, but a mode
				// may be the reason for an unreadable file.
				if info, err := os.Lstat(event.Name); err != nil || info.IsDir() {
					continue
				}
			}
		case _, ok := <-f.watcher.Errors:
			if !ok {
				return
			}
		}
		select {
		case f.changed <- struct{}{}:
		default:
		}
	}
}

// watchOnly watches exactly these directories, and reports whether there are new ones among
// them. Changes in a directory that cannot be watched are found at the interval.
func (f *files) watchOnly(dirs []string, log *slog.Logger) (more bool) {
	if f == nil {
		return false
	}
	wanted := map[string]bool{}
	for _, dir := range dirs {
		local := filepath.Join(string(f.root), dir)
		is, ok := identifyDir(local)
		if !ok {
			continue
		}
		wanted[local] = true
		was, known := f.watched[local]
		if known && was == is {
			continue
		}
		if known {
			_ = f.watcher.Remove(local) // the kernel may have done so already
		}
		if err := f.watcher.Add(local); err != nil {
			log.Warn("cannot watch a directory", "directory", dir, "error", err)
			is = identity{} // retried at the next scan
		} else {
			more = true
			log.Debug("watching", "directory", dir)
		}
		f.watched[local] = is
	}
	for local := range f.watched {
		if !wanted[local] {
			_ = f.watcher.Remove(local)
			delete(f.watched, local)
		}
	}
	return more
}

func identifyDir(local string) (identity, bool) {
	info, err := os.Stat(local)
	if err != nil || !info.IsDir() {
		return identity{}, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}, false
	}
	return identity{uint64(stat.Dev), stat.Ino}, true //nolint:unconvert // other widths on other systems
}
