package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tempName is where a file's successor is prepared: hidden, beside it, and always
// the same, so that whoever comes after a crash knows what to remove. Libraries for
// atomic writes choose random names, set the mode alone and do not fsync the
// directory, which is why this package has its own few lines.
func tempName(local string) string {
	return filepath.Join(filepath.Dir(local), "."+filepath.Base(local)+".rotate-certs-new")
}

// WriteFile writes a file of this program's own durably: after it returns, a power
// cut leaves the new content; before, the old one or none; never a part.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	a := attributes{Mode: uint32(mode.Perm()), UID: os.Geteuid(), GID: os.Getegid()}
	err := stageFile(path, data, a)
	if err == nil {
		err = install(path)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

// RemoveFile removes a file that [WriteFile] wrote, and what an interrupted WriteFile
// left of it, durably. One that is not there is no error, also where nothing can be
// written.
func RemoveFile(path string) error {
	removed := false
	for _, p := range []string{path, tempName(path)} {
		// Looked for first: a read-only file system refuses to remove what is not there.
		// Nor is there anything below what is no directory.
		if _, err := os.Lstat(p); errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
			continue
		}
		if err := removeIfThere(p); err != nil {
			return fmt.Errorf("remove %q: %w", path, err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("remove %q: %w", path, err)
	}
	return nil
}

// stageFile prepares a file's successor completely, attributes and fsync included.
// Nothing remains of it when that fails.
func stageFile(local string, data []byte, a attributes) (err error) {
	temp := tempName(local)
	if err := removeIfThere(temp); err != nil {
		return err
	}
	// Exclusive, so that a symlink put there is not written through; for root only
	// until the attributes are set.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return bare(err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = bare(closeErr)
		}
		if err != nil {
			_ = os.Remove(temp)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return bare(err)
	}
	if err := a.give(f); err != nil {
		return err
	}
	return bare(f.Sync())
}

// stageLink prepares a symlink's successor.
func stageLink(local, text string, a attributes) error {
	temp := tempName(local)
	if err := removeIfThere(temp); err != nil {
		return err
	}
	if err := os.Symlink(text, temp); err != nil {
		return bare(err)
	}
	err := bare(os.Lchown(temp, a.UID, a.GID))
	if err == nil {
		err = giveXattrs(linkXattrs(temp), a.Xattrs)
	}
	if err == nil {
		err = syncDir(filepath.Dir(local))
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// install puts a staged successor in place: the one moment at which the old
// content gives way to the new.
func install(local string) error {
	if err := os.Rename(tempName(local), local); err != nil {
		return bare(err)
	}
	return syncDir(filepath.Dir(local))
}

// syncDir makes a directory's entries durable: a rename alone is atomic, but may
// be forgotten in a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return bare(err)
	}
	defer func() { _ = d.Close() }()
	return bare(d.Sync())
}

func removeIfThere(path string) error {
	// Looked for first: a read-only file system refuses to remove what is not there,
	// and what was never changed needs no writing to be put back.
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return bare(err)
	}
	return nil
}

// bare drops the local path from a system error: callers name the host's path.
func bare(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return fmt.Errorf("%s: %w", pathErr.Op, pathErr.Err)
	}
	var linkErr *os.LinkError
	if errors.As(err, &linkErr) {
		return fmt.Errorf("%s: %w", linkErr.Op, linkErr.Err)
	}
	return err
}
