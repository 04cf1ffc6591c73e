package rotate

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// successor is a new certificate with its key.
type successor struct {
	store.Material
	SignedBy string // the node that signed it, if that was another one
}

// issuerAsPlanned returns a certificate's issuer. The plan knows which other nodes have the key of its
// CA; the scan of one node does not.
func issuerAsPlanned(c inventory.Certificate, target plan.Target) inventory.Issuer {
	if target.Issuer == string(inventory.OtherNode) && c.Issuer.Kind == inventory.NoIssuer && c.Issuer.Authority != "" {
		c.Issuer.Kind = inventory.OtherNode
	}
	return c.Issuer
}

// addPossession lets another node sign a request: it adds the old chain and a signature of the
// old key. The new key does not leave this node.
func addPossession(csr *nodeapi.CSR, authority string, old store.Content) error {
	block, _ := pem.Decode([]byte(csr.PEM))
	if block == nil {
		return errors.New("encode certificate request: it is no PEM")
	}
	signature, err := certs.SignPossession(old.LeafCert(), old.Key, block.Bytes)
	if err != nil {
		return err
	}
	csr.Authority = authority
	csr.Chain = string(certs.EncodePEM(old.Chain...))
	csr.Possession = signature
	return nil
}

// expectedAuthority returns the CA that must have signed what another node has signed, as it is on
// this node: the other one is not trusted. Nil: the certificates API has had it signed.
func (s *session) expectedAuthority(c inventory.Certificate, signedBy string, now time.Time) (*x509.Certificate, error) {
	if c.Issuer.Kind != inventory.OtherNode && signedBy == "" {
		return nil, nil
	}
	data, err := s.Root.ReadFile(c.Issuer.CACert)
	if err != nil {
		return nil, fmt.Errorf("load certificate authority: %w", err)
	}
	all, err := certs.ParsePEM(data)
	if err != nil {
		return nil, fmt.Errorf("load certificate authority %q: %w", c.Issuer.CACert, err)
	}
	all = slices.DeleteFunc(all, func(ca *x509.Certificate) bool { return certs.AuthorityID(ca) != c.Issuer.Authority })
	i := certs.LastingOf(all, now, certs.DatesOf)
	if i < 0 {
		return nil, fmt.Errorf("load certificate authority: %q no longer holds the one that signed %s", c.Issuer.CACert, c.Name)
	}
	return all[i], nil
}

// issuedTooLate is why the wait for a certificate has ended.
func issuedTooLate(c inventory.Certificate) error {
	if c.Issuer.Kind == inventory.OtherNode {
		return fmt.Errorf("no other node has signed it within %s", nodeapi.SignatureTimeout)
	}
	return fmt.Errorf("no certificate was issued within %s; approve the request (kubectl get csr), or check why the signer does not sign it", nodeapi.SignatureTimeout)
}
