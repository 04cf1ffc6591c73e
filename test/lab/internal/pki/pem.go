// Package pki makes the certificates and keys of a lab's nodes, and makes such
// certificates expire.
package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
)

// CertificatePEM is a chain as a PEM file has it.
func CertificatePEM(chain ...*x509.Certificate) string {
	var text strings.Builder
	for _, certificate := range chain {
		text.Write(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	return text.String()
}

// KeyPEM is a private key in the form that openssl and kubeadm give it.
func KeyPEM(key crypto.Signer) (string, error) {
	block := pem.Block{Type: "EC PRIVATE KEY"}
	switch key := key.(type) {
	case *rsa.PrivateKey:
		block = pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	case *ecdsa.PrivateKey:
		der, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			return "", fmt.Errorf("encode a private key: %w", err)
		}
		block.Bytes = der
	default:
		return "", fmt.Errorf("encode a private key: type %T", key)
	}
	return string(pem.EncodeToMemory(&block)), nil
}

// parseCertificates returns the certificates of a PEM text, which may hold more.
func parseCertificates(text []byte) []*x509.Certificate {
	var found []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if certificate, err := x509.ParseCertificate(block.Bytes); block.Type == "CERTIFICATE" && err == nil {
			found = append(found, certificate)
		}
	}
	return found
}

// parseKeys returns the private keys of a PEM text, which may hold more.
func parseKeys(text []byte) []crypto.Signer {
	var found []crypto.Signer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if !strings.HasSuffix(block.Type, "PRIVATE KEY") {
			continue
		}
		if key, err := parseKey(block.Bytes); err == nil {
			found = append(found, key)
		}
	}
	return found
}

func parseKey(der []byte) (crypto.Signer, error) {
	if key, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return key, nil
	}
	if key, err := x509.ParseECPrivateKey(der); err == nil {
		return key, nil
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it cannot sign")
	}
	return signer, nil
}

// samePublicKey reports whether a certificate is for the public key of key.
func samePublicKey(certificate *x509.Certificate, key crypto.Signer) bool {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	return err == nil && bytes.Equal(der, certificate.RawSubjectPublicKeyInfo)
}

// PublicKeyPEM is the public half of a key.
func PublicKeyPEM(key crypto.Signer) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return "", fmt.Errorf("encode a public key: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})), nil
}
