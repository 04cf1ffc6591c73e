// Package store reads and replaces certificates with their keys on a node's disk: in two PEM
// files, in one PEM file behind a symlink, or inside a kubeconfig. A file is never written in
// place, and its replacement has the same owner, mode and extended attributes (SELinux label,
// ACL).
package store

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// Content is the content of a store.
type Content struct {
	Chain []*x509.Certificate // leaf first, never empty
	Key   certs.Key           // zero where KeyErr is set
	// KeyErr is the reason why there is no usable key: missing, unreadable, or not that of the
	// leaf. It is a finding, not a failure: the certificate itself is usable.
	KeyErr error
}

// LeafCert is the certificate itself.
func (c Content) LeafCert() *x509.Certificate { return c.Chain[0] }

// Material is the new content of a store.
type Material struct {
	Chain []*x509.Certificate // leaf first
	Key   certs.Key
}

// checkMaterial refuses material that no component could load.
func (m Material) checkMaterial() error {
	switch {
	case len(m.Chain) == 0:
		return errors.New("there is no certificate")
	case !m.Key.FitsCert(m.Chain[0]):
		return fmt.Errorf("the key does not fit certificate %q", m.Chain[0].Subject)
	}
	return nil
}

// ReadStore returns the content of a store. It fails if there is no readable certificate; an
// error of the key is Content.KeyErr.
func ReadStore(root hostfs.Root, s inventory.Store) (Content, error) {
	certPEM, keyPEM, keyErr, err := readPEM(root, s)
	if err != nil {
		return Content{}, err
	}
	chain, err := certs.ParsePEM(certPEM)
	if err != nil {
		return Content{}, fmt.Errorf("read certificate from %q: %w", s.Cert, err)
	}
	c := Content{Chain: chain}
	if keyErr != nil {
		c.KeyErr = keyErr
		return c, nil
	}
	key, err := certs.ParseKeyPEM(keyPEM)
	switch {
	case err != nil:
		c.KeyErr = fmt.Errorf("read key from %q: %w", keyPath(s), err)
	case !key.FitsCert(c.LeafCert()):
		c.KeyErr = misfit(s, key, chain)
	default:
		c.Key = key
	}
	return c, nil
}

// misfit is the error of a key that is not that of the first certificate. Components refuse a chain
// that does not begin with the key's certificate.
func misfit(s inventory.Store, key certs.Key, chain []*x509.Certificate) error {
	i := slices.IndexFunc(chain, key.FitsCert)
	if i < 0 {
		return fmt.Errorf("key in %q does not fit the certificate in %q", keyPath(s), s.Cert)
	}
	return fmt.Errorf("key in %q does not fit the first certificate in %q but number %d, which has to come first", keyPath(s), s.Cert, i+1)
}

// readPEM returns a store's certificate and key as PEM, with separate errors for the key and
// for the certificate.
func readPEM(root hostfs.Root, s inventory.Store) (certPEM, keyPEM []byte, keyErr, err error) {
	switch s.Kind {
	case inventory.Pair:
		if certPEM, err = root.ReadFile(s.Cert); err != nil {
			return nil, nil, nil, err
		}
		keyPEM, keyErr = root.ReadFile(s.Key)
		return certPEM, keyPEM, keyErr, nil
	case inventory.Combined:
		certPEM, err = root.ReadFile(s.Cert)
		return certPEM, certPEM, nil, err
	case inventory.Kubeconfig:
		data, err := root.ReadFile(s.Cert)
		if err != nil {
			return nil, nil, nil, err
		}
		u, err := kubeconfigUser(data, s.User)
		if err != nil {
			return nil, nil, nil, fmt.Errorf("read kubeconfig %q: %w", s.Cert, err)
		}
		if certPEM, err = u.decodeField(certField); err != nil {
			return nil, nil, nil, fmt.Errorf("read kubeconfig %q: %w", s.Cert, err)
		}
		if keyPEM, keyErr = u.decodeField(keyField); keyErr != nil {
			keyErr = fmt.Errorf("read kubeconfig %q: %w", s.Cert, keyErr)
		}
		return certPEM, keyPEM, keyErr, nil
	default:
		return nil, nil, nil, fmt.Errorf("read %q: unknown kind of store %q", s.Cert, s.Kind)
	}
}

func keyPath(s inventory.Store) string {
	if s.Kind == inventory.Pair {
		return s.Key
	}
	return s.Cert
}
