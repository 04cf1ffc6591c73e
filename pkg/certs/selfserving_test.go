package certs_test

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// TestSelfServing renews certificates whose CA's key no longer exists.
func TestSelfServing(t *testing.T) {
	kubelet := certstest.SelfMade(t, "n1", certstest.WithKey(certstest.RSA2048, ""))
	selfSigned := certstest.NewCA(t, "dashboard", certstest.SANs("dashboard"),
		certstest.Template(func(c *x509.Certificate) { c.IsCA = false; c.KeyUsage = x509.KeyUsageDigitalSignature })).Pair()
	for _, test := range []struct {
		name  string
		chain []*x509.Certificate
	}{
		{"kubelet.crt: leaf and throwaway CA", kubelet.Chain},
		{"the leaf alone, its CA not kept", kubelet.Chain[:1]},
		{"self-signed", selfSigned.Chain},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := test.chain[0]
			key, err := certs.NewKeyLike(old.PublicKey, "")
			require.NoError(t, err)
			chain, err := certs.SelfServing(test.chain, key, certs.Renewal{Now: now, Validity: 30 * 24 * time.Hour})
			require.NoError(t, err)

			require.Len(t, chain, len(test.chain), "as many certificates as before")
			leaf := chain[0]
			assert.True(t, key.FitsCert(leaf))
			assert.Empty(t, certs.Compare(old, leaf), "same names, also of the issuer")
			assert.Equal(t, old.RawIssuer, leaf.RawIssuer)
			assert.Equal(t, now.Add(-5*time.Minute), leaf.NotBefore)
			assert.Equal(t, now.Add(30*24*time.Hour), leaf.NotAfter)
			if len(chain) == 2 {
				ca := chain[1]
				assert.Empty(t, certs.Compare(test.chain[1], ca))
				assert.NotEqual(t, test.chain[1].PublicKey, ca.PublicKey, "the CA's key is new")
				assert.Equal(t, ca.SubjectKeyId, leaf.AuthorityKeyId)
				assert.NotEqual(t, test.chain[1].SubjectKeyId, ca.SubjectKeyId)
				_, err := leaf.Verify(x509.VerifyOptions{Roots: poolOf(ca), DNSName: "n1", CurrentTime: now})
				assert.NoError(t, err)
			}
		})
	}
	t.Run("nothing to renew", func(t *testing.T) {
		_, err := certs.SelfServing(nil, selfSigned.Key, certs.Renewal{Now: now})
		assert.Error(t, err)
		_, err = certs.SelfServing(kubelet.Chain, certs.Key{}, certs.Renewal{Now: now})
		assert.Error(t, err)
	})
}
