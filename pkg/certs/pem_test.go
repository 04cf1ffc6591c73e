package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

func TestParsePEM(t *testing.T) {
	ca := certstest.NewCA(t, "root").Intermediate(t, "intermediate")
	p := ca.Leaf(t)
	leaf := p.Chain[0]
	intermediate := p.Chain[1]

	for _, test := range []struct {
		name string
		text string
		want []*x509.Certificate
		err  string
	}{
		{"one certificate", string(certs.EncodePEM(leaf)), []*x509.Certificate{leaf}, ""},
		{"a chain in its order", string(p.CertPEM()), []*x509.Certificate{leaf, intermediate}, ""},
		{"a key between", string(certs.EncodePEM(leaf)) + string(p.KeyPEM(t)) + string(certs.EncodePEM(intermediate)), []*x509.Certificate{leaf, intermediate}, ""},
		{"text of openssl x509 -text around", "Certificate:\n  Data:\n" + string(certs.EncodePEM(leaf)) + "# end", []*x509.Certificate{leaf}, ""},
		{"Windows line ends", "\r\n" + windowsEnds(certs.EncodePEM(leaf)), []*x509.Certificate{leaf}, ""},
		{"empty", "", nil, "no CERTIFICATE block"},
		{"DER", string(leaf.Raw), nil, "no CERTIFICATE block"},
		{"only a key", string(p.KeyPEM(t)), nil, "no CERTIFICATE block"},
		{"a request", string(encodeKey("CERTIFICATE REQUEST", leaf.Raw)), nil, "no CERTIFICATE block"},
		{"a hole in the chain", string(certs.EncodePEM(leaf)) + string(encodeKey("CERTIFICATE", leaf.Raw[:40])), nil, "parse certificate 2"},
		{"trailing bytes in a block", string(encodeKey("CERTIFICATE", append(leaf.Raw[:len(leaf.Raw):len(leaf.Raw)], 0))), nil, "parse certificate 1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := certs.ParsePEM([]byte(test.text))
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				assert.Nil(t, got)
				return
			}
			require.NoError(t, err)
			require.Len(t, got, len(test.want))
			for i := range got {
				assert.True(t, got[i].Equal(test.want[i]), "certificate %d", i)
			}
		})
	}
}

func windowsEnds(text []byte) string {
	var out []byte
	for _, b := range text {
		if b == '\n' {
			out = append(out, '\r')
		}
		out = append(out, b)
	}
	return string(out)
}

// FuzzParsePEM takes its input as PEM and, because chance alone writes no valid
// base64, as the DER of a certificate too.
func FuzzParsePEM(f *testing.F) {
	p := certstest.NewCA(f, "root").Intermediate(f, "intermediate").Leaf(f, certstest.SANs("a.example", "10.0.0.1", "spiffe://x/y", "a@b"))
	f.Add(p.CertPEM())
	f.Add(append(p.CertPEM(), p.KeyPEM(f)...))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))
	for _, c := range p.Chain {
		f.Add(c.Raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, encodeKey("CERTIFICATE", data)} {
			chain, err := certs.ParsePEM(text)
			if err != nil {
				require.Nil(t, chain)
				continue
			}
			again, err := certs.ParsePEM(certs.EncodePEM(chain...))
			require.NoError(t, err)
			require.Len(t, again, len(chain))
			for _, c := range chain {
				// Every parsed certificate can be described, compared and renewed, or is
				// refused.
				certs.DescribeCertificate(c)
				assert.Empty(t, certs.Compare(c, c))
				_, _ = certs.SuccessorTemplate(c, certs.Renewal{Now: certstest.Now, CA: p.Chain[1]})
				_ = certs.CanSign(c, certstest.Now)
				certs.IsIssuedBy(c, p.Chain[1])
				certs.IsIssuedBy(p.Leaf(), c)
			}
		}
	})
}

// FuzzParseKeyPEM takes its input as PEM and as the DER of each kind of key.
func FuzzParseKeyPEM(f *testing.F) {
	for _, like := range []any{certstest.ECDSAP256, certstest.Ed25519, certstest.RSA2048} {
		for _, block := range []string{certs.PKCS8, ""} {
			key, err := certs.NewKeyLike(like, block)
			require.NoError(f, err)
			text, err := key.PEM()
			require.NoError(f, err)
			f.Add(text)
			der, _ := pem.Decode(text)
			f.Add(der.Bytes)
		}
	}
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, text := range [][]byte{data, encodeKey(certs.PKCS1, data), encodeKey(certs.SEC1, data), encodeKey(certs.PKCS8, data)} {
			key, err := certs.ParseKeyPEM(text)
			if err != nil {
				require.Nil(t, key.Signer)
				continue
			}
			written, err := key.PEM()
			require.NoError(t, err, "what was parsed can be written")
			again, err := certs.ParseKeyPEM(written)
			require.NoError(t, err)
			require.Equal(t, key.BlockType, again.BlockType)
		}
	})
}
