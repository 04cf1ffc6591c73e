package certs_test

import (
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// TestIssuerOfARefusedSignature: Go's refusal of an algorithm or key does not mean that another CA
// signed.
func TestIssuerOfARefusedSignature(t *testing.T) {
	ca := certstest.NewCA(t, "ca", certstest.WithKey(certstest.RSA2048, ""))
	namesake := certstest.NewCA(t, "ca", certstest.WithKey(certstest.RSA2048, ""))
	md5 := ca.LeafMD5(t).Leaf()
	sha1 := ca.Leaf(t, certstest.Template(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA })).Leaf()
	var smallCA, otherSmallCA certstest.CA
	var bySmall, smallKey *x509.Certificate
	certstest.WithSmallRSA(t, func(key func(int) certs.Key) {
		smallCA = certstest.NewCA(t, "ca", certstest.OfKey(key(768)))
		otherSmallCA = certstest.NewCA(t, "ca", certstest.OfKey(key(768)))
		bySmall = smallCA.Leaf(t).Leaf()
		smallKey = ca.Leaf(t, certstest.OfKey(key(512))).Leaf()
	})
	for name, test := range map[string]struct {
		leaf           *x509.Certificate
		signer, other  *x509.Certificate
		refused, alone string
	}{
		"MD5":                {md5, ca.Cert, namesake.Cert, "is signed with MD5-RSA", ""},
		"SHA-1":              {sha1, ca.Cert, namesake.Cert, "is signed with SHA1-RSA", ""},
		"a small key signed": {bySmall, smallCA.Cert, otherSmallCA.Cert, "is signed with an RSA key of 768 bits", ""},
		"its key is small":   {smallKey, ca.Cert, namesake.Cert, "", "has an RSA key of 512 bits"},
		"nothing is wrong":   {ca.Leaf(t).Leaf(), ca.Cert, namesake.Cert, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if !certs.IsIssuedBy(test.leaf, test.signer) || certs.IsIssuedBy(test.leaf, test.other) {
				t.Errorf("issued by its signer: %v, by a namesake: %v", certs.IsIssuedBy(test.leaf, test.signer), certs.IsIssuedBy(test.leaf, test.other))
			}
			expectRefusal(t, certs.RefusedSignature(test.leaf), test.refused)
			expectRefusal(t, certs.RefusedKey(test.leaf.PublicKey), test.alone)
		})
	}
	if err := certs.CanSign(smallCA.Cert, certstest.Now); err == nil || !strings.Contains(err.Error(), "has an RSA key of 768 bits") {
		t.Errorf("CA with a small key: %v", err)
	}
}

// expectRefusal compares a reason, which must name a program that refuses.
func expectRefusal(t *testing.T, got, want string) {
	t.Helper()
	if (got == "") != (want == "") || !strings.HasPrefix(got, want) || want != "" && !strings.Contains(got, "kube-apiserver refuse") {
		t.Errorf("refused for %q, want %q", got, want)
	}
}

// TestSuccessorOfASmallKey: Go does not make a key of that size.
func TestSuccessorOfASmallKey(t *testing.T) {
	small := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 511), E: 65537}
	key, err := certs.NewKeyLike(small, certs.PKCS1)
	if err != nil {
		t.Fatal(err)
	}
	if got := certs.KeyAlgorithm(key.Signer.Public()); got != "RSA-2048" {
		t.Errorf("new key: %s", got)
	}
}
