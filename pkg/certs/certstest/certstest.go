// Package certstest builds certificate authorities, certificates and whole node trees for
// tests. Certificates are valid at [Now] unless an [Option] changes that, and every failure
// ends the test.
package certstest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Now is the time for everything that a test process builds: the present, so that real TLS
// peers accept it, in whole seconds as in certificates.
var Now = time.Now().UTC().Truncate(time.Second)

// Pair is a certificate with its key, and the certificates after it in its file.
type Pair struct {
	Chain []*x509.Certificate // leaf first
	Key   certs.Key
}

// Leaf is the certificate itself.
func (p Pair) Leaf() *x509.Certificate { return p.Chain[0] }

// CertPEM is the chain as a file holds it.
func (p Pair) CertPEM() []byte { return certs.EncodePEM(p.Chain...) }

// KeyPEM is the key as a file holds it.
func (p Pair) KeyPEM(t testing.TB) []byte {
	t.Helper()
	out, err := p.Key.PEM()
	check(t, err)
	return out
}

// CA is a certificate authority with its key.
type CA struct {
	Cert *x509.Certificate
	Key  certs.Key
	// above are the intermediates from Cert up, without the root.
	above []*x509.Certificate
}

// Spec is the specification that options change.
type Spec struct {
	template *x509.Certificate
	key      certs.Key
	keyLike  crypto.PublicKey
	block    string
}

// Option changes a certificate that is about to be built.
type Option func(*Spec)

// Template changes the template freely.
func Template(change func(*x509.Certificate)) Option {
	return func(s *Spec) { change(s.template) }
}

// Name sets the subject: common name and organizations.
func Name(commonName string, organizations ...string) Option {
	return Template(func(c *x509.Certificate) {
		c.Subject = pkix.Name{CommonName: commonName, Organization: organizations}
	})
}

// RawSubject sets the subject's DER.
func RawSubject(der []byte) Option {
	return Template(func(c *x509.Certificate) { c.RawSubject = der })
}

// SANs sets names: IP addresses, URIs (with "://"), e-mail addresses (with "@"),
// all others DNS names.
func SANs(names ...string) Option {
	return Template(func(c *x509.Certificate) { addSANs(c, names) })
}

// Usages sets the extended key usages.
func Usages(usages ...x509.ExtKeyUsage) Option {
	return Template(func(c *x509.Certificate) { c.ExtKeyUsage = usages })
}

// Extension adds an extension as it is.
func Extension(oid asn1.ObjectIdentifier, critical bool, value []byte) Option {
	return Template(func(c *x509.Certificate) {
		c.ExtraExtensions = append(c.ExtraExtensions, pkix.Extension{Id: oid, Critical: critical, Value: value})
	})
}

// Valid sets the dates.
func Valid(notBefore, notAfter time.Time) Option {
	return Template(func(c *x509.Certificate) { c.NotBefore = notBefore; c.NotAfter = notAfter })
}

// Kinds of keys, for [WithKey].
var (
	RSA2048   crypto.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}
	RSA3072   crypto.PublicKey = &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 3071), E: 65537}
	ECDSAP256 crypto.PublicKey = &ecdsa.PublicKey{Curve: elliptic.P256()}
	ECDSAP384 crypto.PublicKey = &ecdsa.PublicKey{Curve: elliptic.P384()}
	Ed25519   crypto.PublicKey = ed25519.PublicKey{}
)

// WithKey chooses the kind of key and its PEM label; the default is ECDSA P-256,
// because it is fast, in SEC 1.
func WithKey(like crypto.PublicKey, blockType string) Option {
	return func(s *Spec) { s.keyLike = like; s.block = blockType }
}

// OfKey uses a key that exists.
func OfKey(key certs.Key) Option {
	return func(s *Spec) { s.key = key }
}

// NewCA makes a root, valid from two days ago for ten years.
func NewCA(t testing.TB, commonName string, options ...Option) CA {
	t.Helper()
	s := newCASpec(commonName)
	key := s.applyTo(t, options)
	return CA{Cert: signWith(t, s.template, s.template, key, key), Key: key}
}

// Intermediate makes a CA below this one.
func (ca CA) Intermediate(t testing.TB, commonName string, options ...Option) CA {
	t.Helper()
	s := newCASpec(commonName)
	key := s.applyTo(t, options)
	cert := signWith(t, s.template, ca.Cert, key, ca.Key)
	return CA{Cert: cert, Key: key, above: append([]*x509.Certificate{cert}, ca.above...)}
}

// Leaf makes a certificate for server and client auth, valid from yesterday to
// tomorrow a year later. The intermediates follow it, the root does not.
func (ca CA) Leaf(t testing.TB, options ...Option) Pair {
	t.Helper()
	s := &Spec{keyLike: ECDSAP256, template: &x509.Certificate{
		Subject:               pkix.Name{CommonName: "leaf"},
		NotBefore:             Now.Add(-24 * time.Hour),
		NotAfter:              Now.Add(366 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}}
	key := s.applyTo(t, options)
	leaf := signWith(t, s.template, ca.Cert, key, ca.Key)
	return Pair{Chain: append([]*x509.Certificate{leaf}, ca.above...), Key: key}
}

// Pair is the CA's certificate and key, to be written like any other.
func (ca CA) Pair() Pair {
	return Pair{Chain: []*x509.Certificate{ca.Cert}, Key: ca.Key}
}

// SelfMade makes a certificate like the kubelet's self-made one: a leaf and, after it in the
// same file, a CA whose key was dropped.
func SelfMade(t testing.TB, node string, options ...Option) Pair {
	t.Helper()
	ca := NewCA(t, node+"-ca@1700000000", Valid(Now.Add(-time.Hour), Now.Add(365*24*time.Hour)))
	leaf := ca.Leaf(t, append([]Option{Name(node + "@1700000000"), SANs(node), Usages(x509.ExtKeyUsageServerAuth)}, options...)...)
	return Pair{Chain: []*x509.Certificate{leaf.Leaf(), ca.Cert}, Key: leaf.Key}
}

func newCASpec(commonName string) *Spec {
	return &Spec{keyLike: ECDSAP256, template: &x509.Certificate{
		Subject:               pkix.Name{CommonName: commonName},
		NotBefore:             Now.Add(-48 * time.Hour),
		NotAfter:              Now.Add(10 * 365 * 24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}}
}

// applyTo applies the options to the template and returns the key to use.
func (s *Spec) applyTo(t testing.TB, options []Option) certs.Key {
	t.Helper()
	for _, o := range options {
		o(s)
	}
	if s.key.Signer != nil {
		return s.key
	}
	key, err := certs.NewKeyLike(s.keyLike, s.block)
	check(t, err)
	return key
}

// signWith uses crypto/x509, independently of the code under test.
func signWith(t testing.TB, template, parent *x509.Certificate, key, parentKey certs.Key) *x509.Certificate {
	t.Helper()
	template.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Signer.Public(), parentKey.Signer)
	check(t, err)
	c, err := x509.ParseCertificate(der)
	check(t, err)
	return c
}

func addSANs(c *x509.Certificate, names []string) {
	for _, name := range names {
		u, err := url.Parse(name)
		switch ip := net.ParseIP(name); {
		case ip != nil:
			c.IPAddresses = append(c.IPAddresses, ip)
		case err == nil && u.Host != "":
			c.URIs = append(c.URIs, u)
		case strings.Contains(name, "@"):
			c.EmailAddresses = append(c.EmailAddresses, name)
		default:
			c.DNSNames = append(c.DNSNames, name)
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
