package certstest

import (
	"bytes"
	"crypto"
	"crypto/md5" //nolint:gosec // a certificate that must be refused
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// The DER of the object identifiers sha256WithRSAEncryption and md5WithRSAEncryption.
var (
	oidSHA256WithRSA = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b}
	oidMD5WithRSA    = []byte{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x04}
)

// LeafMD5 is [CA.Leaf] with a signature of MD5, which crypto/x509 does not make. The CA has an RSA
// key.
func (ca CA) LeafMD5(t testing.TB, options ...Option) Pair {
	t.Helper()
	p := ca.Leaf(t, append(options, Template(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA256WithRSA }))...)
	p.Chain[0] = signWithMD5(t, p.Leaf(), ca.Key)
	return p
}

// signWithMD5 replaces the signature of a certificate, which is SHA-256 with RSA, by one of MD5.
func signWithMD5(t testing.TB, c *x509.Certificate, key certs.Key) *x509.Certificate {
	t.Helper()
	type algorithm struct {
		ID   asn1.ObjectIdentifier
		Null asn1.RawValue
	}
	signed := bytes.Replace(c.RawTBSCertificate, oidSHA256WithRSA, oidMD5WithRSA, 1)
	sum := md5.Sum(signed) //nolint:gosec // as above
	signature, err := rsa.SignPKCS1v15(rand.Reader, key.Signer.(*rsa.PrivateKey), crypto.MD5, sum[:])
	check(t, err)
	der, err := asn1.Marshal(struct {
		Signed    asn1.RawValue
		Algorithm algorithm
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: signed}, algorithm{asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 1, 4}, asn1.NullRawValue},
		asn1.BitString{Bytes: signature, BitLength: 8 * len(signature)}})
	check(t, err)
	out, err := x509.ParseCertificate(der)
	check(t, err)
	return out
}

// WithSmallRSA calls build while Go accepts RSA keys below 1024 bits, and returns a function for
// such a key.
func WithSmallRSA(t *testing.T, build func(key func(bits int) certs.Key)) {
	t.Helper()
	t.Setenv("GODEBUG", "rsa1024min=0")
	defer t.Setenv("GODEBUG", "")
	build(func(bits int) certs.Key {
		key, err := rsa.GenerateKey(rand.Reader, bits) //nolint:gosec // a key that must be refused
		check(t, err)
		return certs.Key{Signer: key, BlockType: certs.PKCS1}
	})
}
