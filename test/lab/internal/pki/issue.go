package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"time"
)

// Algorithm is what a key is for.
type Algorithm string

// The algorithms of keys.
const (
	RSA   Algorithm = "RSA"
	ECDSA Algorithm = "ECDSA"
)

// NewKey makes a private key.
func NewKey(algorithm Algorithm) (crypto.Signer, error) {
	if algorithm == RSA {
		return rsa.GenerateKey(rand.Reader, 2048)
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

const (
	authorityLifetime = 10 * 365 * 24 * time.Hour
	leafLifetime      = 365 * 24 * time.Hour
)

// NewAuthority makes a CA; without a parent it signs itself.
func NewAuthority(name string, algorithm Algorithm, parent *Pair) (Pair, error) {
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	return create(template, algorithm, parent, authorityLifetime)
}

// Request is a leaf certificate that is wanted.
type Request struct {
	Name           string
	Organization   string // "" for none
	Names          []string
	IPs            []string
	Server, Client bool
	Algorithm      Algorithm
}

// Issue makes a leaf certificate and its key.
func (a Pair) Issue(r Request) (Pair, error) {
	template := x509.Certificate{
		Subject: pkix.Name{CommonName: r.Name}, BasicConstraintsValid: true,
		DNSNames: r.Names, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if r.Organization != "" {
		template.Subject.Organization = []string{r.Organization}
	}
	for _, ip := range r.IPs {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	if r.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if r.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	if r.Algorithm == RSA {
		template.KeyUsage |= x509.KeyUsageKeyEncipherment
	}
	return create(template, r.Algorithm, &a, leafLifetime)
}

func create(template x509.Certificate, algorithm Algorithm, parent *Pair, lifetime time.Duration) (Pair, error) {
	name := template.Subject.CommonName
	key, err := NewKey(algorithm)
	if err != nil {
		return Pair{}, fmt.Errorf("make a key for %q: %w", name, err)
	}
	if template.SerialNumber, err = newSerialNumber(); err != nil {
		return Pair{}, err
	}
	// Earlier than now: the clocks of real machines differ, and so do people's files.
	template.NotBefore = time.Now().Add(-5 * time.Minute).UTC()
	template.NotAfter = template.NotBefore.Add(lifetime)
	if parent == nil {
		parent = &Pair{&template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent.Certificate, key.Public(), parent.Key)
	if err != nil {
		return Pair{}, fmt.Errorf("sign %q: %w", name, err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return Pair{}, fmt.Errorf("sign %q: %w", name, err)
	}
	return Pair{certificate, key}, nil
}

func newSerialNumber() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}
