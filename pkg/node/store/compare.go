package store

import (
	"crypto/x509"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// Generation classifies the certificate and key in a store that was to be replaced.
type Generation string

// The generations.
const (
	Old Generation = "Old" // the certificate from before, and a key that fits it
	New Generation = "New" // its successor, and a key that fits it
	// Mixed: no usable pair. Halves of both, as between two renames, or a half that is
	// missing, cannot be read, or fits nothing.
	Mixed Generation = "Mixed"
	// Foreign: neither of the two, and usable. Another program has replaced it since.
	Foreign Generation = "Foreign"
)

// CompareStore returns the generation of a store's content, by the fingerprints of the old
// certificate and of its successor, and the certificate itself; nil if there is no readable
// one.
func CompareStore(root hostfs.Root, s inventory.Store, before, successor string) (Generation, *x509.Certificate) {
	content, err := ReadStore(root, s)
	if err != nil {
		if s.Kind == inventory.Kubeconfig && isKubeconfig(root, s.Cert) {
			return Foreign, nil // its user has another credential now, or was removed
		}
		return Mixed, nil
	}
	leaf := content.LeafCert()
	switch fingerprint := certs.Fingerprint(leaf); {
	case content.KeyErr != nil:
		return Mixed, leaf
	case fingerprint == before:
		return Old, leaf
	case fingerprint == successor:
		return New, leaf
	default:
		return Foreign, leaf
	}
}

// isKubeconfig reports whether a file can be read as a kubeconfig with users.
func isKubeconfig(root hostfs.Root, path string) bool {
	data, err := root.ReadFile(path)
	if err != nil {
		return false
	}
	tree, err := parseTree(data)
	users, _ := tree["users"].([]any)
	return err == nil && len(users) > 0
}

// DiscardStaged removes files that an interrupted [ReplaceStore] or [RestoreStore] prepared
// beside a store and did not install. The store itself stays unchanged.
func DiscardStaged(root hostfs.Root, s inventory.Store) error {
	paths, link, err := storeFiles(root, s)
	if err != nil {
		return err
	}
	if link != nil {
		if err := link.cleanUp(root); err != nil {
			return err
		}
	}
	for _, path := range paths {
		local, err := root.LocalPath(path)
		if err != nil {
			return err
		}
		if err := removeIfThere(tempName(local)); err != nil {
			return err
		}
	}
	return nil
}
