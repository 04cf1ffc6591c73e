package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// tempName returns the path for a file's successor: hidden, beside it, and always the same, so
// that it can be removed after a crash. Libraries for atomic writes choose random names, set
// only the mode and do not fsync the directory, so this package has its own code.
func tempName(local string) string {
	return filepath.Join(filepath.Dir(local), "."+filepath.Base(local)+".rotate-certs-new")
}

// WriteFile writes a file of this program durably: after it returns, a power cut leaves the new
// content; before, the old content or no file; never a part.
func WriteFile(path string, data []byte, mode fs.FileMode) error {
	a := attributes{Mode: uint32(mode.Perm()), UID: os.Geteuid(), GID: os.Getegid()}
	err := stageFile(path, data, a)
	if err == nil {
		err = installStaged(path)
	}
	if err != nil {
		return fmt.Errorf("write %q: %w", path, err)
	}
	return nil
}

// RemoveFile removes a file that [WriteFile] wrote, and the temporary file of an interrupted
// WriteFile, durably. A missing file is no error, also on a read-only file system.
func RemoveFile(path string) error {
	removed := false
	for _, p := range []string{path, tempName(path)} {
		// Checked first, since a read-only file system refuses the removal of a missing file. A
		// parent that is not a directory means that the file does not exist.
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

// stageFile prepares a file's successor completely, including attributes and fsync. It leaves
// no file behind when it fails.
func stageFile(local string, data []byte, a attributes) (err error) {
	temp := tempName(local)
	if err := removeIfThere(temp); err != nil {
		return err
	}
	// Exclusive, so that no symlink in its place is followed; for root only until the
	// attributes are set.
	f, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return bareError(err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil {
			err = bareError(closeErr)
		}
		if err != nil {
			_ = os.Remove(temp)
		}
	}()
	if _, err := f.Write(data); err != nil {
		return bareError(err)
	}
	if err := a.setOn(f); err != nil {
		return err
	}
	return bareError(f.Sync())
}

// stageLink prepares a symlink's successor.
func stageLink(local, text string, a attributes) error {
	temp := tempName(local)
	if err := removeIfThere(temp); err != nil {
		return err
	}
	if err := os.Symlink(text, temp); err != nil {
		return bareError(err)
	}
	err := bareError(os.Lchown(temp, a.UID, a.GID))
	if err == nil {
		err = setXattrs(linkXattrs(temp), a.Xattrs)
	}
	if err == nil {
		err = syncDir(filepath.Dir(local))
	}
	if err != nil {
		_ = os.Remove(temp)
	}
	return err
}

// installStaged renames a staged successor into place. This is the moment at which the content
// changes.
func installStaged(local string) error {
	if err := os.Rename(tempName(local), local); err != nil {
		return bareError(err)
	}
	return syncDir(filepath.Dir(local))
}

// syncDir makes a directory's entries durable: a rename is atomic, but may be lost in a power
// cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return bareError(err)
	}
	defer func() { _ = d.Close() }()
	return bareError(d.Sync())
}

func removeIfThere(path string) error {
	// Checked first, since a read-only file system refuses the removal of a missing file, and
	// an unchanged store needs no write to be restored.
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return bareError(err)
	}
	return nil
}

// bareError drops the local path from a system error: callers name the host path.
func bareError(err error) error {
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
