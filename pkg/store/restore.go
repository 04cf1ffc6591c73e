package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// Restore puts a store back as [Backup] found it: the same bytes, owner, mode and
// attributes, the same symlink. What an interrupted or completed Swap added is
// removed. What is already as it was is not touched, so Restore may be repeated,
// and after a crash must be. A damaged backup is refused before anything is changed.
func Restore(root hostfs.Root, s inventory.Store, dir string) error {
	if err := restore(root, s, dir); err != nil {
		return fmt.Errorf("restore %q: %w", s.Cert, err)
	}
	return nil
}

func restore(root hostfs.Root, s inventory.Store, dir string) error {
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	if !m.isOf(s) {
		return fmt.Errorf("%q is the backup of another store, %q", dir, m.Store.Cert)
	}
	contents := make([][]byte, len(m.Files))
	for i, f := range m.Files {
		// The manifest is this program's own, but names nothing outside its directory.
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(f.Content)))
		if err != nil {
			return fmt.Errorf("read backup of %q: %w", f.Path, bare(err))
		}
		if digest(data) != f.SHA256 {
			return fmt.Errorf("the backup of %q in %q is damaged", f.Path, dir)
		}
		contents[i] = data
	}
	for i, f := range m.Files {
		if err := f.putBack(root, contents[i]); err != nil {
			return fmt.Errorf("put back %q: %w", f.Path, err)
		}
	}
	if m.Link != nil {
		return m.Link.putBack(root)
	}
	return nil
}

func (f savedFile) putBack(root hostfs.Root, data []byte) error {
	// The path is the real file's: a symlink there now has come since.
	local, err := root.LocalNoFollow(f.Path)
	if err != nil {
		return err
	}
	now, err := takeSnapshot(local)
	if err == nil && string(now.data) == string(data) && now.attr.equal(f.Attributes) {
		return removeIfThere(tempName(local))
	}
	if err := stageFile(local, data, f.Attributes); err != nil {
		return err
	}
	return install(local)
}

// putBack turns the link back and removes the dated files that came since. One that
// the kubelet made by itself in between goes too: it belongs to a state that is
// being left, and the restarted kubelet asks for another when it needs one.
func (s savedLink) putBack(root hostfs.Root) error {
	local, err := root.LocalNoFollow(s.Path)
	if err != nil {
		return err
	}
	link := &currentLink{host: s.Path, local: local, text: s.Text, attr: s.Attributes}
	link.target = link.resolve(s.Text)
	if err := link.clean(root); err != nil {
		return err
	}
	if text, err := os.Readlink(local); err != nil || text != s.Text {
		if err := stageLink(local, s.Text, s.Attributes); err != nil {
			return fmt.Errorf("put back symlink %q: %w", s.Path, err)
		}
		if err := install(local); err != nil {
			return fmt.Errorf("put back symlink %q: %w", s.Path, err)
		}
	}
	return link.removeNewer(root, s.Dated)
}

// removeNewer removes the dated files that are not among those known.
func (l *currentLink) removeNewer(root hostfs.Root, known []string) error {
	names, err := l.datedFiles(root)
	if err != nil {
		return err
	}
	dir, err := root.Local(filepath.Dir(l.target))
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		if slices.Contains(known, name) || name == filepath.Base(l.target) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return bare(err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return syncDir(dir)
}
