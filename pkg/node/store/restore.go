package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// RestoreStore restores a store as [BackUp] found it: the same bytes, owner, mode and
// attributes, the same symlink. Of a Combined store's dated files it removes those that hold
// one of the new certificates, given by their fingerprints; others are the kubelet's. Files
// that are already restored are not written, so RestoreStore may be repeated, and must be after
// a crash. A damaged backup is refused before anything is changed.
//
// Changes of other programs around the certificate are kept: the chain beside the old
// certificate, and the rest of a kubeconfig.
func RestoreStore(root hostfs.Root, s inventory.Store, dir string, made ...string) error {
	if err := restoreAll(root, s, dir, made); err != nil {
		return fmt.Errorf("restore %q: %w", s.Cert, err)
	}
	return nil
}

func restoreAll(root hostfs.Root, s inventory.Store, dir string, made []string) error {
	m, err := readManifest(dir)
	if err != nil {
		return err
	}
	if !m.isOf(s) {
		return fmt.Errorf("%q is the backup of another store, %q", dir, m.Store.Cert)
	}
	contents, err := m.readContents(dir)
	if err != nil {
		return err
	}
	current, _ := CompareStore(root, s, m.Fingerprint, "")
	for i, f := range m.Files {
		data := contents[i]
		if s.Kind == inventory.Kubeconfig {
			data = aroundUser(root, f.Path, s.User, data)
		}
		if err := f.putBack(root, data, current == Old); err != nil {
			return fmt.Errorf("restore %q: %w", f.Path, err)
		}
	}
	if m.Link != nil {
		return m.Link.putBack(root, made)
	}
	return nil
}

// readContents returns the saved files' bytes, all of them or none.
func (m manifest) readContents(dir string) ([][]byte, error) {
	out := make([][]byte, len(m.Files))
	for i, f := range m.Files {
		// The manifest is this program's own, but names nothing outside its directory.
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(f.Content)))
		if err != nil {
			return nil, fmt.Errorf("read backup of %q: %w", f.Path, bareError(err))
		}
		if digestOf(data) != f.SHA256 {
			return nil, fmt.Errorf("the backup of %q in %q is damaged", f.Path, dir)
		}
		out[i] = data
	}
	return out, nil
}

// putBack restores one file. With sameCertificate it keeps content that differs from the saved
// one: the certificate is the old one, so other programs have changed the rest.
func (f savedFile) putBack(root hostfs.Root, data []byte, sameCertificate bool) error {
	// The path is the real file's: a symlink there was created since.
	local, err := root.LocalNoFollow(f.Path)
	if err != nil {
		return err
	}
	now, err := takeSnapshot(local)
	if err == nil && (string(now.data) == string(data) && now.attr.isEqual(f.Attributes) ||
		string(now.data) != string(data) && sameCertificate) {
		return removeIfThere(tempName(local))
	}
	if err := stageFile(local, data, f.Attributes); err != nil {
		return err
	}
	return installStaged(local)
}

// aroundUser returns the content to restore for a kubeconfig: its saved content or, if the rest
// of the file was changed since, the current file with the user's saved certificate and key.
func aroundUser(root hostfs.Root, path, user string, saved []byte) []byte {
	now, err := root.ReadFile(path)
	if err != nil {
		return saved
	}
	u, err := kubeconfigUser(saved, user)
	if err != nil {
		return saved
	}
	certPEM, certErr := u.decodeField(certField)
	keyPEM, keyErr := u.decodeField(keyField)
	candidate, err := replaceInKubeconfig(now, user, certPEM, keyPEM)
	if errors.Join(certErr, keyErr, err) != nil {
		return saved // it cannot be read, or no longer has that user's certificate
	}
	// Both written in the same way, so that folded values compare equal.
	unfolded, err := replaceInKubeconfig(saved, user, certPEM, keyPEM)
	if err != nil || sameTree(unfolded, candidate) {
		return saved
	}
	return candidate
}

func sameTree(a, b []byte) bool {
	first, err := parseTree(a)
	if err != nil {
		return false
	}
	second, err := parseTree(b)
	return err == nil && reflect.DeepEqual(first, second)
}

// putBack points the link back and removes the dated files that this program made.
func (s savedLink) putBack(root hostfs.Root, made []string) error {
	local, err := root.LocalNoFollow(s.Path)
	if err != nil {
		return err
	}
	link := &currentLink{host: s.Path, local: local, text: s.Text, attr: s.Attributes}
	link.target = link.resolveText(s.Text)
	if err := link.cleanUp(root); err != nil {
		return err
	}
	if text, err := os.Readlink(local); err != nil || text != s.Text {
		if err := stageLink(local, s.Text, s.Attributes); err != nil {
			return fmt.Errorf("restore symlink %q: %w", s.Path, err)
		}
		if err := installStaged(local); err != nil {
			return fmt.Errorf("restore symlink %q: %w", s.Path, err)
		}
	}
	return link.removeMade(root, s.Dated, made)
}

// removeMade removes the dated files that are not among those known and that hold one
// of the certificates made.
func (l *currentLink) removeMade(root hostfs.Root, known, made []string) error {
	names, err := l.datedFiles(root)
	if err != nil {
		return err
	}
	dir, err := root.LocalPath(filepath.Dir(l.target))
	if err != nil {
		return err
	}
	removed := false
	for _, name := range names {
		if slices.Contains(known, name) || name == filepath.Base(l.target) || !holdsOne(filepath.Join(dir, name), made) {
			continue
		}
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return bareError(err)
		}
		removed = true
	}
	if !removed {
		return nil
	}
	return syncDir(dir)
}

// holdsOne reports whether a file's first certificate is one of those given by fingerprint.
func holdsOne(local string, fingerprints []string) bool {
	file, err := takeSnapshot(local)
	if err != nil {
		return false
	}
	chain, err := certs.ParsePEM(file.data)
	return err == nil && slices.Contains(fingerprints, certs.Fingerprint(chain[0]))
}
