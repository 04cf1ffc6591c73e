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

func TestLife(t *testing.T) {
	const day = 24 * time.Hour
	for name, test := range map[string]struct {
		from, to time.Duration // from now
		copied   bool
		want     time.Duration
	}{
		"ten years":                         {-100 * day, 3550 * day, false, 3650 * day},
		"a day":                             {-time.Hour, 23 * time.Hour, false, day},
		"NotBefore of its CA, made with it": {-300 * day, 65*day + 3*time.Second, true, 365*day + 3*time.Second},
		"for 99 years, made with its CA":    {-900 * day, 35235 * day, true, 36135 * day},
		"NotBefore of its CA, renewed in its third":  {-1000*day - 7*time.Hour, 300 * day, true, 365 * day},
		"NotBefore of its CA, renewed for ten years": {-1000*day - 7*time.Hour, 3600 * day, true, 3600 * day},
		"NotBefore of its CA, short":                 {-10*day - 7*time.Hour, 20 * day, true, 30*day + 7*time.Hour},
		"dates that make no sense are no length":     {day, -day, false, certs.DefaultLifetime},
	} {
		assert.Equal(t, test.want, certs.LifeOf(now.Add(test.from), now.Add(test.to), now, test.copied), name)
	}
}

// TestRepeatedRotationsKeepTheLife: backdating adds nothing and takes nothing, also below
// a CA that is younger than that.
func TestRepeatedRotationsKeepTheLife(t *testing.T) {
	young := certstest.NewCA(t, "ca", certstest.Valid(now.Add(-2*time.Second), now.Add(3650*24*time.Hour)))
	long := young.Leaf(t, certstest.Valid(young.Cert.NotBefore, now.Add(36135*24*time.Hour))).Leaf()
	for range 3 {
		long, _ = renewWith(t, young, long)
		assert.Equal(t, young.Cert.NotAfter, long.NotAfter)
	}
	ca := certstest.NewCA(t, "ca", certstest.Valid(now.Add(-time.Hour), now.AddDate(100, 0, 0)))
	for _, life := range []time.Duration{20 * time.Minute, time.Hour, 365 * 24 * time.Hour, 36135 * 24 * time.Hour} {
		c := ca.Leaf(t, certstest.Valid(now.Add(-30*time.Minute), now.Add(life-30*time.Minute))).Leaf()
		for range 3 {
			c, _ = renewWith(t, ca, c)
			assert.Equal(t, life, c.NotAfter.Sub(c.NotBefore))
		}
	}
}

func TestSignaturesKeepTheirAlgorithm(t *testing.T) {
	for _, test := range []struct {
		name      string
		key       any
		algorithm x509.SignatureAlgorithm
		want      x509.SignatureAlgorithm
		otherCA   any
	}{
		{"SHA-384 by RSA", certstest.RSA2048, x509.SHA384WithRSA, x509.SHA384WithRSA, nil},
		{"SHA-512 by RSA", certstest.RSA2048, x509.SHA512WithRSA, x509.SHA512WithRSA, nil},
		{"RSA-PSS", certstest.RSA2048, x509.SHA256WithRSAPSS, x509.SHA256WithRSAPSS, nil},
		{"RSA-PSS, SHA-512", certstest.RSA2048, x509.SHA512WithRSAPSS, x509.SHA512WithRSAPSS, nil},
		{"SHA-512 by P-256", certstest.ECDSAP256, x509.ECDSAWithSHA512, x509.ECDSAWithSHA512, nil},
		{"SHA-384 by P-384", certstest.ECDSAP384, x509.ECDSAWithSHA384, x509.ECDSAWithSHA384, nil},
		{"Ed25519", certstest.Ed25519, x509.PureEd25519, x509.PureEd25519, nil},
		{"a CA whose key is of another kind", certstest.RSA2048, x509.SHA384WithRSA, x509.ECDSAWithSHA256, certstest.ECDSAP256},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := certstest.NewCA(t, "ca", certstest.WithKey(test.key, ""))
			old := ca.Leaf(t, certstest.Template(func(c *x509.Certificate) { c.SignatureAlgorithm = test.algorithm })).Leaf()
			if test.otherCA != nil {
				ca = certstest.NewCA(t, "ca", certstest.WithKey(test.otherCA, ""))
			}
			c, _ := renewWith(t, ca, old)
			assert.Equal(t, test.want, c.SignatureAlgorithm)
			require.Equal(t, test.want != test.algorithm, len(certs.Compare(old, c)) > 0)
			assert.Empty(t, certs.LossesOf(certs.Compare(old, c)))
		})
	}
	t.Run("SelfServing", func(t *testing.T) {
		old := certstest.NewCA(t, "n1", certstest.WithKey(certstest.RSA2048, ""), certstest.Template(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA384WithRSA }))
		key, err := certs.NewKeyLike(certstest.RSA2048, "")
		require.NoError(t, err)
		chain, err := certs.SelfServing(old.Pair().Chain, key, certs.Renewal{Now: now})
		require.NoError(t, err)
		assert.Equal(t, x509.SHA384WithRSA, chain[0].SignatureAlgorithm)
		assert.Equal(t, old.Cert.NotAfter.Sub(old.Cert.NotBefore), chain[0].NotAfter.Sub(chain[0].NotBefore))
	})
}

// TestSuccessorOfAnUnlimitedCertificate: RFC 5280 has the year 9999 for certificates without an
// expiration, and a Duration holds 292 years.
func TestSuccessorOfAnUnlimitedCertificate(t *testing.T) {
	never := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	ca := certstest.NewCA(t, "ca", certstest.Valid(now.Add(-time.Hour), never))
	old := ca.Leaf(t, certstest.Valid(now.Add(-time.Hour), never)).Leaf()
	for range 2 {
		old, _ = renewWith(t, ca, old)
		assert.Equal(t, never, old.NotAfter)
	}
	template, err := certs.SuccessorTemplate(old, certs.Renewal{Now: now, CA: ca.Cert, Validity: 365 * 24 * time.Hour})
	require.NoError(t, err)
	assert.Equal(t, now.AddDate(1, 0, 0).UTC(), template.NotAfter, "as asked")
	limited := certstest.NewCA(t, "ca", certstest.OfKey(ca.Key))
	c, _ := renewWith(t, limited, old)
	assert.Equal(t, limited.Cert.NotAfter, c.NotAfter)
}

// TestSuccessorOfACertificateWithoutABeginning: a program in Go that sets no NotBefore makes
// certificates that are valid from the year 1. The successor does not expire with it.
func TestSuccessorOfACertificateWithoutABeginning(t *testing.T) {
	for _, ends := range []time.Time{now.AddDate(0, 0, 10), now.AddDate(0, 0, -1)} {
		old := &x509.Certificate{NotAfter: ends}
		template, err := certs.SuccessorTemplate(old, certs.Renewal{Now: now})
		require.NoError(t, err)
		assert.Greater(t, template.NotAfter.Year(), 2300)
	}
}
