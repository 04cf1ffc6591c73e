package store

import (
	"fmt"

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
