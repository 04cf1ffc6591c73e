package certs

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// requestBlock is the PEM label of a PKCS #10 request.
const requestBlock = "CERTIFICATE REQUEST"

// maxRequest limits the DER of a request that is parsed.
const maxRequest = 64 << 10

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
	return pem.EncodeToMemory(&pem.Block{Type: requestBlock, Bytes: der}), nil
}

// ParseCSR returns the one PKCS #10 request of a PEM text. It must be signed with its own key.
func ParseCSR(data []byte) (*x509.CertificateRequest, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != requestBlock || len(bytes.TrimSpace(rest)) > 0 || len(block.Bytes) > maxRequest {
		return nil, errors.New("it holds no PKCS #10 request")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("its request cannot be parsed: %w", err)
	}
	// A hostile request must not use the processor for minutes.
	if k, ok := r.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxRSABits {
		return nil, fmt.Errorf("its key has %d bits, more than the %d that TLS allows", k.N.BitLen(), maxRSABits)
	}
	if err := r.CheckSignature(); err != nil {
		return nil, fmt.Errorf("its request is not signed with its own key: %w", err)
	}
	return r, nil
}

// FitsRequest returns an error where a request asks for anything but the subject and names of a
// certificate.
func FitsRequest(old *x509.Certificate, r *x509.CertificateRequest) error {
	if !bytes.Equal(old.RawSubject, r.RawSubject) {
		return fmt.Errorf("it requests subject %q instead of %q", r.Subject, old.Subject)
	}
	var names []byte
	for _, e := range old.Extensions {
		if e.Id.Equal(oidSubjectAltName) {
			names = e.Value
		}
	}
	var requested []byte
	for _, e := range r.Extensions {
		if !e.Id.Equal(oidSubjectAltName) {
			return fmt.Errorf("it requests extension %s, which no request of this program has", e.Id)
		}
		requested = e.Value
	}
	if !bytes.Equal(names, requested) {
		return errors.New("it requests other names than those of the certificate")
	}
	return nil
}
