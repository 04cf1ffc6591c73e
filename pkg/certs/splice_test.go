package certs_test

import (
	"bytes"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

func TestSpliceTouchesNothingElse(t *testing.T) {
	ca := certstest.NewCA(t, "root").Intermediate(t, "issuing")
	old := ca.Leaf(t)
	fresh := ca.Leaf(t)
	other := certstest.NewCA(t, "other").Leaf(t)
	dh := string(pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte{1, 2, 3}}))
	crl := string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: []byte{4, 5, 6}}))
	curve := string(pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42}}))
	oldCert := string(old.CertPEM())
	newCert := string(fresh.CertPEM())
	oldLeaf := string(certs.EncodePEM(old.Leaf()))
	newLeaf := string(certs.EncodePEM(fresh.Leaf()))
	issuing := string(certs.EncodePEM(ca.Cert))
	oldKey := string(old.KeyPEM(t))
	newKey := string(fresh.KeyPEM(t))
	otherKey := string(other.KeyPEM(t))

	for name, test := range map[string]struct {
		splice   certs.Splice
		was, now string
	}{
		"certificates alone":                  {certs.Splice{Chain: fresh.Chain}, oldCert, newCert},
		"comments":                            {certs.Splice{Chain: fresh.Chain}, "# leaf\n" + oldLeaf + "# issuing\n" + issuing + "# end\n", "# leaf\n" + newLeaf + "# issuing\n" + issuing + "# end\n"},
		"DH parameters and a CRL":             {certs.Splice{Chain: fresh.Chain}, dh + oldLeaf + crl + issuing + dh, dh + newLeaf + crl + issuing + dh},
		"line ends of another kind":           {certs.Splice{Chain: fresh.Chain}, oldLeaf + strings.ReplaceAll(issuing, "\n", "\r\n"), newLeaf + strings.ReplaceAll(issuing, "\n", "\r\n")},
		"fewer certificates":                  {certs.Splice{Chain: fresh.Chain[:1]}, dh + oldCert + crl, dh + newLeaf + crl},
		"more certificates":                   {certs.Splice{Chain: fresh.Chain}, dh + oldLeaf + crl, dh + newCert + crl},
		"key in the certificate's file":       {certs.Splice{Chain: fresh.Chain, Key: &fresh.Key}, oldKey + oldCert + otherKey, newKey + newCert + otherKey},
		"another's key first":                 {certs.Splice{Chain: fresh.Chain, Key: &fresh.Key}, otherKey + oldCert, otherKey + newCert},
		"no key in the certificate's file":    {certs.Splice{Chain: fresh.Chain, Key: &fresh.Key}, oldCert, newCert},
		"the key twice":                       {certs.Splice{Chain: fresh.Chain, Key: &fresh.Key}, oldCert + oldKey + oldKey, newCert + newKey + newKey},
		"key alone":                           {certs.Splice{Key: &fresh.Key}, oldKey, newKey},
		"key after the parameters of a curve": {certs.Splice{Key: &fresh.Key}, curve + oldKey, curve + newKey},
		"key with others after it":            {certs.Splice{Key: &fresh.Key}, "# key\n" + oldKey + otherKey + oldCert, "# key\n" + newKey + otherKey + oldCert},
		"key that is the same":                {certs.Splice{Key: &old.Key}, "# key\n" + strings.ReplaceAll(oldKey, "\n", "\r\n"), "# key\n" + strings.ReplaceAll(oldKey, "\n", "\r\n")},
		"no line end at the end":              {certs.Splice{Chain: fresh.Chain[:1]}, strings.TrimSuffix(oldLeaf, "\n"), newLeaf},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.splice.PutInto([]byte(test.was))
			require.NoError(t, err)
			assert.True(t, bytes.Equal([]byte(test.now), got), "blocks %s", labelsOf(got))
			again, err := test.splice.PutInto(got)
			require.NoError(t, err)
			assert.True(t, bytes.Equal(got, again), "the second time it changes nothing")
		})
	}
}

// labelsOf are a PEM text's blocks: no key is ever printed.
func labelsOf(text []byte) (out []string) {
	for b, rest := pem.Decode(text); b != nil; b, rest = pem.Decode(rest) {
		out = append(out, b.Type)
	}
	return out
}
