package certs_test

import (
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

func TestDiff(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	usual := []certstest.Option{
		certstest.Name("etcd", "o"), certstest.SANs("a", "b", "10.0.0.1"),
		certstest.Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth),
		certstest.Extension(oidCustom, false, []byte{5, 0}),
	}
	old := ca.Leaf(t, usual...).Leaf()
	for _, test := range []struct {
		name      string
		change    []certstest.Option
		attribute string
		old, new  string
		loss      bool
	}{
		{"nothing but key, serial number and dates", []certstest.Option{certstest.Valid(now, now.AddDate(3, 0, 0))}, "", "", "", false},
		{"names in another order", []certstest.Option{sanStrings("b", "a", "10.0.0.1")}, "", "", "", false},
		{"a name is missing", []certstest.Option{sanStrings("a", "10.0.0.1")}, "names", "DNS:a, DNS:b, IP:10.0.0.1", "DNS:a, IP:10.0.0.1", true},
		{"two names are missing", []certstest.Option{sanStrings("a")}, "names", "DNS:a, DNS:b, IP:10.0.0.1", "DNS:a", true},
		{"a name is more", []certstest.Option{sanStrings("a", "b", "c", "10.0.0.1")}, "names", "DNS:a, DNS:b, IP:10.0.0.1", "DNS:a, DNS:b, DNS:c, IP:10.0.0.1", false},
		{"another common name", []certstest.Option{certstest.Name("other", "o")}, "subject", "CN=etcd,O=o", "CN=other,O=o", true},
		{"an organization is missing", []certstest.Option{certstest.Name("etcd")}, "subject", "CN=etcd,O=o", "CN=etcd", true},
		{"a usage is missing", []certstest.Option{certstest.Usages(x509.ExtKeyUsageServerAuth)}, "usages",
			"client auth, digital signature, key encipherment, server auth", "digital signature, key encipherment, server auth", true},
		{"a usage is more", []certstest.Option{certstest.Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageCodeSigning)}, "usages",
			"client auth, digital signature, key encipherment, server auth", "client auth, code signing, digital signature, key encipherment, server auth", false},
		{"a leaf became a CA", []certstest.Option{certstest.Template(func(c *x509.Certificate) { c.IsCA = true })}, "certificate authority", "no", "yes", true},
		{"another algorithm", []certstest.Option{certstest.WithKey(certstest.Ed25519, "")}, "key", "ECDSA-P-256", "Ed25519", true},
		{"a larger key", []certstest.Option{certstest.WithKey(certstest.ECDSAP384, "")}, "key", "ECDSA-P-256", "ECDSA-P-384", false},
		{"an extension has another value", []certstest.Option{certstest.Template(func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: oidCustom, Value: []byte{1, 1, 0}}}
		})}, "extensions", "1.3.6.1.4.1.99999.2=0500", "1.3.6.1.4.1.99999.2=010100", true},
		{"an extension became critical", []certstest.Option{certstest.Template(func(c *x509.Certificate) { c.ExtraExtensions[0].Critical = true })},
			"critical extensions", "", "1.3.6.1.4.1.99999.2", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := ca.Leaf(t, append(usual[:len(usual):len(usual)], test.change...)...).Leaf()
			got := certs.Compare(old, c)
			if test.attribute == "" {
				assert.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			assert.Equal(t, certs.Difference{Attribute: test.attribute, Old: test.old, New: test.new, Loss: test.loss, Lost: got[0].Lost}, got[0])
			for _, lost := range got[0].Lost {
				assert.Contains(t, test.old, lost)
				assert.NotContains(t, test.new, lost)
			}
			assert.Equal(t, test.loss, len(certs.LossesOf(got)) == 1)
		})
	}
	t.Run("what is missing is named", func(t *testing.T) {
		got := certs.Compare(old, ca.Leaf(t, append(usual[:len(usual):len(usual)], sanStrings("a"))...).Leaf())
		assert.Equal(t, `names: "DNS:a, DNS:b, IP:10.0.0.1" → "DNS:a" (lost DNS:b, IP:10.0.0.1)`, got[0].String())
	})
	t.Run("a smaller key", func(t *testing.T) {
		large := ca.Leaf(t, append(usual[:len(usual):len(usual)], certstest.WithKey(certstest.ECDSAP384, ""))...).Leaf()
		assert.Equal(t, []certs.Difference{{Attribute: "key", Old: "ECDSA-P-384", New: "ECDSA-P-256", Loss: true}}, certs.Compare(large, old))
	})
	t.Run("another issuer", func(t *testing.T) {
		c := certstest.NewCA(t, "other").Leaf(t, usual...).Leaf()
		assert.Equal(t, []certs.Difference{{Attribute: "issuer", Old: "CN=ca", New: "CN=other"}}, certs.Compare(old, c))
	})
	t.Run("the same subject in another string type", func(t *testing.T) {
		utf8 := ca.Leaf(t, certstest.RawSubject(commonName(t, asn1.TagUTF8String, "x"))).Leaf()
		printable := ca.Leaf(t, certstest.RawSubject(commonName(t, asn1.TagPrintableString, "x"))).Leaf()
		got := certs.Compare(utf8, printable)
		require.Len(t, got, 1, "it is reported")
		assert.Contains(t, got[0].String(), "CN=x (DER 30")
		assert.Empty(t, certs.LossesOf(got), "and no loss: a signer writes it as it likes")
	})
	t.Run("a subject in another order", func(t *testing.T) {
		organization := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 10}, Value: "o"}
		name := pkix.AttributeTypeAndValue{Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: "n"}
		subject := func(rdns ...pkix.AttributeTypeAndValue) *x509.Certificate {
			var out pkix.RDNSequence
			for _, r := range rdns {
				out = append(out, pkix.RelativeDistinguishedNameSET{r})
			}
			return ca.Leaf(t, certstest.RawSubject(marshalExtension(t, out))).Leaf()
		}
		assert.Len(t, certs.LossesOf(certs.Compare(subject(organization, name), subject(name, organization))), 1)
	})
	t.Run("a name that Go does not parse is missing", func(t *testing.T) {
		with := ca.Leaf(t, certstest.Extension(oidSAN, false, userPrincipalName(t, "x@example.org"))).Leaf()
		got := certs.LossesOf(certs.Compare(with, ca.Leaf(t).Leaf()))
		require.Len(t, got, 1)
		assert.Equal(t, "names", got[0].Attribute)
		assert.Contains(t, got[0].Old, "other:a0")
	})
}

// sanStrings replaces all names.
func sanStrings(names ...string) certstest.Option {
	return func(s *certstest.Spec) {
		certstest.Template(func(c *x509.Certificate) { c.DNSNames = nil; c.IPAddresses = nil })(s)
		certstest.SANs(names...)(s)
	}
}

func poolOf(cas ...*x509.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	for _, c := range cas {
		p.AddCert(c)
	}
	return p
}

func marshalExtension(t *testing.T, v any) []byte {
	t.Helper()
	out, err := asn1.Marshal(v)
	require.NoError(t, err)
	return out
}

// commonName is a subject whose only value has that string type.
func commonName(t *testing.T, tag int, value string) []byte {
	return marshalExtension(t, pkix.RDNSequence{{{
		Type: asn1.ObjectIdentifier{2, 5, 4, 3}, Value: asn1.RawValue{Tag: tag, Bytes: []byte(value)},
	}}})
}

// userPrincipalName is a names extension with Microsoft's otherName.
func userPrincipalName(t *testing.T, name string) []byte {
	inner := marshalExtension(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3})
	text := marshalExtension(t, asn1.RawValue{Tag: asn1.TagUTF8String, Bytes: []byte(name)})
	inner = append(inner, marshalExtension(t, asn1.RawValue{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: text})...)
	return marshalExtension(t, []asn1.RawValue{{Class: asn1.ClassContextSpecific, IsCompound: true, Bytes: inner}})
}

func parseCSR(t *testing.T, text []byte) *x509.CertificateRequest {
	t.Helper()
	block, rest := pem.Decode(text)
	require.NotNil(t, block)
	assert.Empty(t, rest)
	assert.Equal(t, "CERTIFICATE REQUEST", block.Type)
	request, err := x509.ParseCertificateRequest(block.Bytes)
	require.NoError(t, err)
	return request
}
