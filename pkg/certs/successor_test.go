package certs_test

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

var now = certstest.Now

var (
	oidSAN          = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidSKI          = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidAKI          = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSCT          = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidPrivateUsage = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 1}
	oidCustom       = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 99999, 2}
)

// renewWith makes a successor with a new key, as every caller does.
func renewWith(t *testing.T, ca certstest.CA, old *x509.Certificate) (*x509.Certificate, certs.Key) {
	t.Helper()
	template, err := certs.SuccessorTemplate(old, certs.Renewal{Now: now, CA: ca.Cert})
	require.NoError(t, err)
	key, err := certs.NewKeyLike(old.PublicKey, "")
	require.NoError(t, err)
	c, err := certs.SignTemplate(template, key.Signer.Public(), ca.Cert, ca.Key.Signer)
	require.NoError(t, err)
	return c, key
}

// extensionsOf are the extensions that must be the same byte by byte.
func extensionsOf(c *x509.Certificate) []pkix.Extension {
	var out []pkix.Extension
	for _, e := range c.Extensions {
		if !slices.ContainsFunc([]asn1.ObjectIdentifier{oidSKI, oidAKI, oidSCT}, e.Id.Equal) {
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b pkix.Extension) int { return bytes.Compare([]byte(a.Id.String()), []byte(b.Id.String())) })
	return out
}

func TestSuccessorIsTheSameCertificateWithANewKey(t *testing.T) {
	ca := certstest.NewCA(t, "kubernetes")
	for _, test := range []struct {
		name string
		is   []certstest.Option
	}{
		{"kubeadm's API server", []certstest.Option{
			certstest.Name("kube-apiserver"), certstest.Usages(x509.ExtKeyUsageServerAuth),
			certstest.SANs("cp1", "kubernetes.default.svc.cluster.local", "10.96.0.1", "fd00::1")}},
		{"client with two organizations", []certstest.Option{
			certstest.Name("system:node:n1", "system:nodes", "another"), certstest.Usages(x509.ExtKeyUsageClientAuth)}},
		{"every kind of name", []certstest.Option{certstest.SANs("a.example", "*.b.example", "::1", "10.0.0.1", "spiffe://cluster/ns/x", "ops@example.org")}},
		{"RSA", []certstest.Option{certstest.WithKey(certstest.RSA2048, "")}},
		{"ECDSA P-384", []certstest.Option{certstest.WithKey(certstest.ECDSAP384, "")}},
		{"Ed25519", []certstest.Option{certstest.WithKey(certstest.Ed25519, "")}},
		{"unknown extended usage", []certstest.Option{certstest.Template(func(c *x509.Certificate) {
			c.UnknownExtKeyUsage = []asn1.ObjectIdentifier{oidPrivateUsage}
		})}},
		{"no usages, no constraints at all", []certstest.Option{certstest.Usages(), certstest.Template(func(c *x509.Certificate) {
			c.KeyUsage = 0
			c.BasicConstraintsValid = false
		})}},
		{"key usage that is not critical", []certstest.Option{certstest.Extension(oidKeyUsage, false, []byte{3, 2, 5, 160})}},
		{"empty subject, critical names", []certstest.Option{certstest.RawSubject([]byte{0x30, 0}), certstest.SANs("only.example")}},
		{"empty names extension", []certstest.Option{certstest.Extension(oidSAN, false, []byte{0x30, 0})}},
		{"multi-valued subject", []certstest.Option{certstest.RawSubject(marshalExtension(t, pkix.RDNSequence{
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "o"}, {Type: asn1.ObjectIdentifier{2, 5, 4, 11}, Value: "ou"}},
			{{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "cn"}},
		}))}},
		{"subject as UTF8String where Go would say PrintableString", []certstest.Option{certstest.RawSubject(commonName(t, asn1.TagUTF8String, "plain"))}},
		{"subject as PrintableString", []certstest.Option{certstest.RawSubject(commonName(t, asn1.TagPrintableString, "plain"))}},
		{"user principal name, which Go does not parse", []certstest.Option{certstest.Extension(oidSAN, false, userPrincipalName(t, "x@example.org"))}},
		{"unknown extension", []certstest.Option{certstest.Extension(oidCustom, false, []byte{4, 2, 1, 2})}},
		{"unknown critical extension", []certstest.Option{certstest.Extension(oidCustom, true, []byte{5, 0})}},
		{"issuer's addresses", []certstest.Option{certstest.Template(func(c *x509.Certificate) {
			c.OCSPServer = []string{"http://ocsp.example"}
			c.CRLDistributionPoints = []string{"http://crl.example"}
		})}},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := ca.Leaf(t, test.is...).Leaf()
			c, key := renewWith(t, ca, old)

			assert.Equal(t, old.RawSubject, c.RawSubject)
			assert.Equal(t, extensionsOf(old), extensionsOf(c))
			assert.Equal(t, certs.KeyAlgorithm(old.PublicKey), certs.KeyAlgorithm(c.PublicKey))
			assert.Equal(t, ca.Cert.SubjectKeyId, c.AuthorityKeyId)
			assert.Empty(t, certs.Compare(old, c))

			assert.True(t, key.FitsCert(c))
			assert.False(t, key.FitsCert(old), "the key is new")
			assert.NotEqual(t, old.SerialNumber, c.SerialNumber)
			require.NoError(t, c.CheckSignatureFrom(ca.Cert))
			assert.True(t, certs.IsIssuedBy(c, ca.Cert))
		})
	}
}

func TestSuccessorDropsExtensionsOfOneCertificate(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	old := ca.Leaf(t,
		certstest.Template(func(c *x509.Certificate) { c.SubjectKeyId = []byte{1, 2, 3} }),
		certstest.Extension(oidSCT, false, []byte{4, 0})).Leaf()
	c, _ := renewWith(t, ca, old)

	for _, e := range c.Extensions {
		assert.False(t, e.Id.Equal(oidSCT), "timestamps are of the old certificate")
	}
	assert.Len(t, c.SubjectKeyId, 20, "has one, because the old one had")
	assert.NotEqual(t, old.SubjectKeyId, c.SubjectKeyId)
	without, _ := renewWith(t, ca, ca.Leaf(t).Leaf())
	assert.Empty(t, without.SubjectKeyId)
	assert.Empty(t, certs.Compare(old, c))
}

func TestSubjectKeyIDIsThatOfGo(t *testing.T) {
	ca := certstest.NewCA(t, "ca", certstest.WithKey(certstest.RSA2048, ""))
	old := ca.Leaf(t, certstest.Template(func(c *x509.Certificate) { c.SubjectKeyId = []byte{1} })).Leaf()
	template, err := certs.SuccessorTemplate(old, certs.Renewal{Now: now, CA: ca.Cert})
	require.NoError(t, err)
	c, err := certs.SignTemplate(template, ca.Key.Signer.Public(), ca.Cert, ca.Key.Signer)
	require.NoError(t, err)
	assert.Equal(t, ca.Cert.SubjectKeyId, c.SubjectKeyId, "the same key has the same identifier")
}

func TestSignatureAlgorithmFollowsTheCAsKey(t *testing.T) {
	for _, test := range []struct {
		like crypto.PublicKey
		want x509.SignatureAlgorithm
	}{
		{certstest.RSA2048, x509.SHA256WithRSA},
		{certstest.ECDSAP256, x509.ECDSAWithSHA256},
		{certstest.ECDSAP384, x509.ECDSAWithSHA384},
		{certstest.Ed25519, x509.PureEd25519},
	} {
		t.Run(test.want.String(), func(t *testing.T) {
			ca := certstest.NewCA(t, "ca", certstest.WithKey(test.like, ""))
			c, _ := renewWith(t, ca, ca.Leaf(t).Leaf())
			assert.Equal(t, test.want, c.SignatureAlgorithm)
		})
	}
}

func TestSerialNumbers(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	old := ca.Leaf(t).Leaf()
	seen := map[string]bool{}
	for range 50 {
		c, _ := renewWith(t, ca, old)
		assert.Equal(t, 1, c.SerialNumber.Sign(), "positive")
		assert.Equal(t, 128, c.SerialNumber.BitLen())
		assert.False(t, seen[c.SerialNumber.String()])
		seen[c.SerialNumber.String()] = true
		// RFC 5280: at most 20 octets as encoded.
		assert.LessOrEqual(t, len(marshalExtension(t, new(big.Int).Set(c.SerialNumber))), 2+20)
	}
}

func TestSuccessorDates(t *testing.T) {
	const day = 24 * time.Hour
	longAgo := now.Add(-100 * day)
	farFuture := now.Add(4000 * day)
	for _, test := range []struct {
		name             string
		caFrom, caTo     time.Time
		validity         time.Duration
		wantFrom, wantTo time.Time
	}{
		{"by default as long as the old one", longAgo, farFuture, 0, now.Add(-5 * time.Minute), now.Add(99*day - 5*time.Minute)},
		{"as long as asked", longAgo, farFuture, 90 * day, now.Add(-5 * time.Minute), now.Add(90 * day)},
		{"not past its CA", longAgo, now.Add(20 * day), 0, now.Add(-5 * time.Minute), now.Add(20 * day)},
		{"not past a CA in its last minute", longAgo, now.Add(time.Minute), 0, now.Add(-5 * time.Minute), now.Add(time.Minute)},
		{"not before its CA", now.Add(-time.Minute), farFuture, 365 * day, now.Add(-time.Minute), now.Add(365 * day)},
		{"CA of this very second", now, farFuture, 365 * day, now, now.Add(365 * day)},
		{"CA beyond 2050", longAgo, time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC), 30 * 365 * day, now.Add(-5 * time.Minute), now.Add(30 * 365 * day)},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := certstest.NewCA(t, "ca", certstest.Valid(test.caFrom, test.caTo))
			old := ca.Leaf(t, certstest.Valid(longAgo, now.Add(-day))).Leaf() // expired: no matter
			template, err := certs.SuccessorTemplate(old, certs.Renewal{Now: now, Validity: test.validity, CA: ca.Cert})
			require.NoError(t, err)
			key, err := certs.NewKeyLike(certstest.ECDSAP256, "")
			require.NoError(t, err)
			c, err := certs.SignTemplate(template, key.Signer.Public(), ca.Cert, ca.Key.Signer)
			require.NoError(t, err)
			assert.Equal(t, test.wantFrom, c.NotBefore)
			assert.Equal(t, test.wantTo, c.NotAfter)
			_, err = c.Verify(x509.VerifyOptions{Roots: poolOf(ca.Cert), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
			assert.NoError(t, err)
		})
	}
}

func TestSuccessorRefusesACAThatCannotSign(t *testing.T) {
	for _, test := range []struct {
		name string
		is   certstest.Option
		err  string
		hint string
	}{
		{"expired", certstest.Valid(now.Add(-time.Hour), now.Add(-time.Second)), "expired", "authority itself is replaced"},
		{"expired this second", certstest.Valid(now.Add(-time.Hour), now), "expired", "authority itself is replaced"},
		{"not yet valid", certstest.Valid(now.Add(time.Hour), now.Add(2*time.Hour)), "is not valid before", "check this node's clock"},
		{"key usage without cert sign", certstest.Template(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), "may not sign certificates", "lacks \"cert sign\""},
		{"no CA", certstest.Template(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = 0 }), "is not a certificate authority", "CA:TRUE"},
		{"no basic constraints", certstest.Template(func(c *x509.Certificate) { c.IsCA = false; c.BasicConstraintsValid = false }), "is not a certificate authority", "CA:TRUE"},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := certstest.NewCA(t, "bad-ca", test.is)
			old := ca.Leaf(t).Leaf()
			_, err := certs.SuccessorTemplate(old, certs.Renewal{Now: now, CA: ca.Cert})
			require.ErrorContains(t, err, test.err)
			assert.ErrorContains(t, err, "bad-ca")
			assert.ErrorContains(t, err, test.hint)
			assert.True(t, certs.IsIssuedBy(old, ca.Cert), "who the issuer is does not depend on whether it may sign")
		})
	}
	t.Run("key usage left out altogether is fine", func(t *testing.T) {
		ca := certstest.NewCA(t, "ca", certstest.Template(func(c *x509.Certificate) { c.KeyUsage = 0 }))
		assert.NoError(t, certs.CanSign(ca.Cert, now))
	})
	t.Run("negative validity", func(t *testing.T) {
		ca := certstest.NewCA(t, "ca")
		_, err := certs.SuccessorTemplate(ca.Leaf(t).Leaf(), certs.Renewal{Now: now, CA: ca.Cert, Validity: -1})
		assert.ErrorContains(t, err, "negative")
	})
}

func TestSignRefusesAKeyThatIsNotTheCAs(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	other := certstest.NewCA(t, "other")
	template, err := certs.SuccessorTemplate(ca.Leaf(t).Leaf(), certs.Renewal{Now: now, CA: ca.Cert})
	require.NoError(t, err)
	_, err = certs.SignTemplate(template, other.Key.Signer.Public(), ca.Cert, other.Key.Signer)
	assert.ErrorContains(t, err, `not that of certificate authority "CN=ca"`)
	_, err = certs.SignTemplate(template, other.Key.Signer.Public(), ca.Cert, nil)
	assert.ErrorContains(t, err, "has no key")
}

func TestIsIssuedBy(t *testing.T) {
	ca := certstest.NewCA(t, "ca", certstest.Valid(now.Add(-2*time.Hour), now.Add(-time.Hour)))
	namesake := certstest.NewCA(t, "ca")
	other := certstest.NewCA(t, "other", certstest.OfKey(ca.Key))
	renewed := certstest.NewCA(t, "ca", certstest.OfKey(ca.Key))
	leaf := ca.Leaf(t).Leaf()
	assert.True(t, certs.IsIssuedBy(leaf, ca.Cert), "dates do not matter")
	assert.True(t, certs.IsIssuedBy(leaf, renewed.Cert), "same name and key")
	assert.True(t, certs.IsIssuedBy(ca.Cert, ca.Cert), "self-signed")
	assert.False(t, certs.IsIssuedBy(leaf, namesake.Cert), "same name, other key")
	assert.False(t, certs.IsIssuedBy(leaf, other.Cert), "other name, same key")
	assert.False(t, certs.IsIssuedBy(leaf, leaf))
	assert.False(t, certs.IsIssuedBy(leaf, nil))
	assert.False(t, certs.IsIssuedBy(nil, ca.Cert))
}

func TestNewCSR(t *testing.T) {
	old := certstest.NewCA(t, "ca").Leaf(t,
		certstest.RawSubject(commonName(t, asn1.TagUTF8String, "system:node:n1")), certstest.SANs("n1", "10.0.0.1")).Leaf()
	key, err := certs.NewKeyLike(old.PublicKey, "")
	require.NoError(t, err)
	text, err := certs.NewCSR(old, key)
	require.NoError(t, err)
	request := parseCSR(t, text)
	require.NoError(t, request.CheckSignature())
	assert.Equal(t, old.RawSubject, request.RawSubject)
	assert.Equal(t, []string{"n1"}, request.DNSNames)
	assert.True(t, request.IPAddresses[0].Equal(net.IPv4(10, 0, 0, 1)))
	assert.True(t, key.Signer.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(request.PublicKey))

	_, err = certs.NewCSR(old, certs.Key{})
	assert.ErrorContains(t, err, "there is no key")
}
