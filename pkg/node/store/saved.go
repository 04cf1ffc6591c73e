package store

import (
	"errors"
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// ReadBackup returns the certificate and key in the backup of a store, see [BackUp]. It fails if
// the backup is missing or damaged, is of another store, or holds no complete pair.
func ReadBackup(dir string, s inventory.Store) (Material, error) {
	m, err := readManifest(dir)
	if err != nil {
		return Material{}, err
	}
	if !m.isOf(s) {
		return Material{}, fmt.Errorf("%q is the backup of another store, %q", dir, m.Store.Cert)
	}
	contents, err := m.readContents(dir)
	if err != nil {
		return Material{}, err
	}
	saved, err := m.savedMaterial(contents)
	if err != nil {
		return Material{}, fmt.Errorf("read backup %q: %w", dir, err)
	}
	return saved, saved.checkMaterial()
}

// savedMaterial returns the certificate and key in the saved files. Of a pair, the key is the
// first one; both may be in one file.
func (m manifest) savedMaterial(contents [][]byte) (Material, error) {
	if len(contents) == 0 {
		return Material{}, errors.New("no file in it")
	}
	keyPEM := contents[0]
	certPEM := contents[len(contents)-1]
	if m.Store.Kind == inventory.Kubeconfig {
		u, err := kubeconfigUser(contents[0], m.Store.User)
		if err != nil {
			return Material{}, err
		}
		if certPEM, err = u.decodeField(certField); err != nil {
			return Material{}, err
		}
		if keyPEM, err = u.decodeField(keyField); err != nil {
			return Material{}, err
		}
	}
	chain, err := certs.ParsePEM(certPEM)
	if err != nil {
		return Material{}, err
	}
	key, err := certs.ParseKeyPEM(keyPEM)
	return Material{Chain: chain, Key: key}, err
}
