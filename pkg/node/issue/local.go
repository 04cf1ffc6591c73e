package issue

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// LocalCA signs with the key of a CA that lies on this node.
type LocalCA struct {
	Root   hostfs.Root
	CACert string // host path; may hold several CAs, of which the key picks one
	CAKey  string // host path
}

var _ Issuer = LocalCA{}

// IssueSuccessor signs a successor. It refuses a CA that did not issue the old certificate, may
// not sign, is not valid now, or whose key does not fit.
func (l LocalCA) IssueSuccessor(ctx context.Context, r Request) ([]*x509.Certificate, error) {
	if err := r.checkRequest(ctx); err != nil {
		return nil, err
	}
	ca, bundle, caKey, err := l.loadCA(r)
	if err != nil {
		return nil, err
	}
	template, err := certs.SuccessorTemplate(r.Old[0], certs.Renewal{Now: r.Now, Validity: r.Validity, Life: r.Life, CA: ca})
	if err != nil {
		return nil, err
	}
	leaf, err := certs.SignTemplate(template, r.Key.Signer.Public(), ca, caKey.Signer)
	if err != nil {
		return nil, err
	}
	chain := append([]*x509.Certificate{leaf}, chainAfter(r, ca, bundle)...)
	if err := CheckSuccessor(r, chain, ca); err != nil {
		return nil, err
	}
	if err := verifyAsBefore(r, chain, bundle); err != nil {
		return nil, err
	}
	return chain, nil
}

// loadCA reads the CA and its key. Of the certificates in the file that issued the old
// certificate and fit the key, it takes the one that expires last. bundle is the whole content
// of the CA's file.
func (l LocalCA) loadCA(r Request) (ca *x509.Certificate, bundle []*x509.Certificate, key certs.Key, err error) {
	certPEM, err := l.Root.ReadFile(l.CACert)
	if err != nil {
		return nil, nil, key, fmt.Errorf("load certificate authority: %w", err)
	}
	bundle, err = certs.ParsePEM(certPEM)
	if err != nil {
		return nil, nil, key, fmt.Errorf("load certificate authority %q: %w", l.CACert, err)
	}
	keyPEM, err := l.Root.ReadFile(l.CAKey)
	if err != nil {
		return nil, nil, key, fmt.Errorf("load key of certificate authority %q: %w", bundle[0].Subject, err)
	}
	key, err = certs.ParseKeyPEM(keyPEM)
	if err != nil {
		return nil, nil, key, fmt.Errorf("load key of certificate authority %q from %q: %w", bundle[0].Subject, l.CAKey, err)
	}
	ours := slices.DeleteFunc(slices.Clone(bundle), func(c *x509.Certificate) bool { return !key.FitsCert(c) })
	if len(ours) == 0 {
		return nil, nil, key, fmt.Errorf("load certificate authority: the key in %q does not fit the certificate in %q", l.CAKey, l.CACert)
	}
	first := ours[0]
	issued := slices.DeleteFunc(ours, func(c *x509.Certificate) bool { return !certs.IsIssuedBy(r.Old[0], c) })
	if len(issued) == 0 {
		return nil, nil, key, fmt.Errorf("issue certificate %q: certificate authority %q in %q did not issue the old one", r.Old[0].Subject, first.Subject, l.CACert)
	}
	return issued[certs.LastingOf(issued, r.Now, certs.DatesOf)], bundle, key, nil
}
