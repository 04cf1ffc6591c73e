package certs

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// NewCSR returns a PKCS #10 request, as PEM, for a certificate with old's subject
// and names and key k. Usages are not part of it: the certificates.k8s.io API takes
// them from the object around the request.
func NewCSR(old *x509.Certificate, k Key) ([]byte, error) {
	t := &x509.CertificateRequest{RawSubject: old.RawSubject}
	for _, e := range old.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			t.ExtraExtensions = append(t.ExtraExtensions, e)
		}
	}
	if k.Signer == nil {
		return nil, fmt.Errorf("request certificate %q: there is no key", old.Subject)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, t, k.Signer)
	if err != nil {
		return nil, fmt.Errorf("request certificate %q: %w", old.Subject, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}
