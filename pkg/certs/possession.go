package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// possessionContext is the beginning of every message that an old key signs. Nothing else that
// such keys sign begins so: TLS signs a hash or 64 spaces, X.509 a DER sequence, and a token is
// printable. The number changes with the format.
const possessionContext = "rotate-certs: renew a certificate, format 1\x00"

// possessionMessage is the message that the key of a certificate signs to request its successor:
// the context, the SHA-256 of the certificate's DER, and the DER of the PKCS #10 request.
func possessionMessage(old *x509.Certificate, request []byte) []byte {
	sum := sha256.Sum256(old.Raw)
	return slices.Concat([]byte(possessionContext), sum[:], request)
}

// pssOptions are those of an RSA signature.
var pssOptions = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}

// SignPossession shows that the sender of a PKCS #10 request (DER) has the private key of the
// certificate that is to be renewed. The signature is RSA-PSS or ECDSA (ASN.1), both with
// SHA-256, or Ed25519.
func SignPossession(old *x509.Certificate, key Key, request []byte) ([]byte, error) {
	if !key.FitsCert(old) {
		return nil, fmt.Errorf("sign request for certificate %q: the key is not that of the certificate", old.Subject)
	}
	message := possessionMessage(old, request)
	digest := sha256.Sum256(message)
	var signature []byte
	var err error
	switch old.PublicKey.(type) {
	case *rsa.PublicKey:
		signature, err = key.Signer.Sign(rand.Reader, digest[:], pssOptions)
	case *ecdsa.PublicKey:
		signature, err = key.Signer.Sign(rand.Reader, digest[:], crypto.SHA256)
	default:
		signature, err = key.Signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	if err != nil {
		return nil, fmt.Errorf("sign request for certificate %q: %w", old.Subject, err)
	}
	return signature, nil
}

// errPossession means that a request was not signed with the key of the certificate.
var errPossession = errors.New("the request is not signed with the key of the certificate that is to be renewed")

// VerifyPossession verifies a signature of [SignPossession].
func VerifyPossession(old *x509.Certificate, request, signature []byte) error {
	message := possessionMessage(old, request)
	digest := sha256.Sum256(message)
	ok := false
	switch k := old.PublicKey.(type) {
	case *rsa.PublicKey:
		ok = k.N.BitLen() <= maxRSABits && rsa.VerifyPSS(k, crypto.SHA256, digest[:], signature, pssOptions) == nil
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(k, digest[:], signature)
	case ed25519.PublicKey:
		ok = ed25519.Verify(k, message, signature)
	}
	if !ok {
		return errPossession
	}
	return nil
}
