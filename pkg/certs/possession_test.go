package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

func TestPossessionOfEveryKindOfKey(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	request := []byte("a request")
	for name, kind := range map[string]crypto.PublicKey{
		"RSA": certstest.RSA2048, "P-256": certstest.ECDSAP256, "P-384": certstest.ECDSAP384, "Ed25519": certstest.Ed25519,
	} {
		t.Run(name, func(t *testing.T) {
			old := ca.Leaf(t, certstest.WithKey(kind, ""))
			other := ca.Leaf(t, certstest.WithKey(kind, ""))
			again := ca.Leaf(t, certstest.OfKey(old.Key))

			signature, err := certs.SignPossession(old.Leaf(), old.Key, request)

			require.NoError(t, err)
			assert.NoError(t, certs.VerifyPossession(old.Leaf(), request, signature))
			assert.Error(t, certs.VerifyPossession(old.Leaf(), []byte("another"), signature), "another request")
			assert.Error(t, certs.VerifyPossession(other.Leaf(), request, signature), "another key")
			assert.Error(t, certs.VerifyPossession(again.Leaf(), request, signature), "another certificate of this key")
			assert.Error(t, certs.VerifyPossession(old.Leaf(), request, nil), "no signature")
			signature[len(signature)-1] ^= 1
			assert.Error(t, certs.VerifyPossession(old.Leaf(), request, signature), "a damaged signature")
			_, err = certs.SignPossession(old.Leaf(), other.Key, request)
			assert.ErrorContains(t, err, "not that of the certificate")
		})
	}
}

// TestPossessionIsNoPlainSignature: a signature that the key made for something else is none.
func TestPossessionIsNoPlainSignature(t *testing.T) {
	old := certstest.NewCA(t, "ca").Leaf(t)
	request := []byte("a request")
	digest := sha256.Sum256(request)
	plain, err := ecdsa.SignASN1(rand.Reader, old.Key.Signer.(*ecdsa.PrivateKey), digest[:])
	require.NoError(t, err)
	assert.Error(t, certs.VerifyPossession(old.Leaf(), request, plain))
}

func TestAuthorityIDIsOfNameAndKey(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	renewed := certstest.NewCA(t, "ca", certstest.OfKey(ca.Key))
	assert.Equal(t, certs.AuthorityID(ca.Cert), certs.AuthorityID(renewed.Cert))
	assert.NotEqual(t, certs.AuthorityID(ca.Cert), certs.AuthorityID(certstest.NewCA(t, "ca").Cert), "another key")
	assert.NotEqual(t, certs.AuthorityID(ca.Cert), certs.AuthorityID(certstest.NewCA(t, "cb", certstest.OfKey(ca.Key)).Cert), "another name")
}

func TestFitsRequest(t *testing.T) {
	old := certstest.NewCA(t, "ca").Leaf(t, certstest.Name("etcd", "a"), certstest.SANs("cp1", "10.0.0.1")).Leaf()
	plain := certstest.NewCA(t, "ca").Leaf(t, certstest.Name("etcd", "a")).Leaf()
	key, err := certs.NewKeyLike(old.PublicKey, "")
	require.NoError(t, err)
	own, err := certs.NewCSR(old, key)
	require.NoError(t, err)
	for name, tt := range map[string]struct {
		template x509.CertificateRequest
		old      *x509.Certificate
		err      string
	}{
		"another subject": {x509.CertificateRequest{Subject: pkix.Name{CommonName: "etcd", Organization: []string{"b"}}}, plain, "requests subject"},
		"another name":    {x509.CertificateRequest{RawSubject: old.RawSubject, DNSNames: []string{"cp2"}}, old, "other names"},
		"no names":        {x509.CertificateRequest{RawSubject: old.RawSubject}, old, "other names"},
		"a name too many": {x509.CertificateRequest{RawSubject: plain.RawSubject, DNSNames: []string{"cp2"}}, plain, "other names"},
		"to be a CA": {x509.CertificateRequest{RawSubject: plain.RawSubject, ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 3, 1, 1, 0xff}}}}, plain, "extension 2.5.29.19"},
	} {
		t.Run(name, func(t *testing.T) {
			der, err := x509.CreateCertificateRequest(rand.Reader, &tt.template, key.Signer)
			require.NoError(t, err)
			r, err := certs.ParseCSR(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
			require.NoError(t, err)
			assert.ErrorContains(t, certs.FitsRequest(tt.old, r), tt.err)
		})
	}
	r, err := certs.ParseCSR(own)
	require.NoError(t, err)
	assert.NoError(t, certs.FitsRequest(old, r))
}

func TestParseCSRRefusals(t *testing.T) {
	old := certstest.NewCA(t, "ca").Leaf(t)
	good, err := certs.NewCSR(old.Leaf(), old.Key)
	require.NoError(t, err)
	block, _ := pem.Decode(good)
	damaged := append([]byte{}, block.Bytes...)
	damaged[len(damaged)-1] ^= 1
	for name, tt := range map[string]struct {
		data []byte
		err  string
	}{
		"nothing":         {nil, "no PKCS #10 request"},
		"a certificate":   {old.CertPEM(), "no PKCS #10 request"},
		"two of them":     {append(append([]byte{}, good...), good...), "no PKCS #10 request"},
		"not DER":         {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte("x")}), "cannot be parsed"},
		"of another key":  {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: damaged}), "not signed with its own key"},
		"larger than any": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: make([]byte, 65<<10)}), "no PKCS #10 request"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := certs.ParseCSR(tt.data)
			assert.ErrorContains(t, err, tt.err)
		})
	}
}
