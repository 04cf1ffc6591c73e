package store

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// BackupKey returns the [certs.PublicKeySHA256] of the key in a store's backup. It fails if the
// backup is missing or damaged, or holds no readable key.
func BackupKey(dir string) (string, error) {
	m, err := readManifest(dir)
	if err != nil {
		return "", err
	}
	contents, err := m.readContents(dir)
	if err != nil {
		return "", err
	}
	for _, data := range contents {
		if m.Store.Kind == inventory.Kubeconfig {
			u, err := kubeconfigUser(data, m.Store.User)
			if err != nil {
				continue
			}
			if data, err = u.decodeField(keyField); err != nil {
				continue
			}
		}
		if key, err := certs.ParseKeyPEM(data); err == nil {
			return certs.PublicKeySHA256(key.Signer.Public()), nil
		}
	}
	return "", fmt.Errorf("read backup %q: no key in it", dir)
}

// DestroyKeys overwrites and removes the files below a directory that hold one of some keys, by
// their certs.PublicKeySHA256. See [DestroyBackup] for the limits of overwriting.
func DestroyKeys(dir string, keys map[string]bool) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("destroy keys in %q: %w", dir, bareError(err))
	}
	defer func() { _ = root.Close() }()
	err = fs.WalkDir(root.FS(), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := root.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := certs.ParseKeyPEM(data)
		if err != nil || !keys[certs.PublicKeySHA256(key.Signer.Public())] {
			return nil //nolint:nilerr // no key, or another one
		}
		return destroyIn(root, dir, path)
	})
	if err != nil {
		return fmt.Errorf("destroy keys in %q: %w", dir, err)
	}
	return nil
}

func destroyIn(root *os.Root, dir, path string) error {
	f, err := root.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := overwriteContent(f); err != nil {
		return err
	}
	if err := root.Remove(path); err != nil {
		return err
	}
	return syncDir(filepath.Join(dir, filepath.Dir(path)))
}
