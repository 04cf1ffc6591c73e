package store_test

import (
	"crypto"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// TestOddPEMFiles renders a file in some style with the old and with the new certificate (%C) and key
// (%K). A Replace must turn the one into the other, with every other byte and the key's encoding as
// they were.
func TestOddPEMFiles(t *testing.T) {
	const parameters = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
	windows := func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }
	same := func(s string) string { return s }
	for name, test := range map[string]struct {
		text  string
		like  crypto.PublicKey
		block string
		old   func(string) string // how the old values are written
	}{
		"text around":               {"Bag Attributes\n  x: y\n%C# between\n%K# end", certstest.ECDSAP256, certs.SEC1, same},
		"key first":                 {"%K%C", certstest.RSA2048, certs.PKCS1, same},
		"parameters before the key": {"%C" + parameters + "%K", certstest.ECDSAP256, certs.SEC1, same},
		"bytes of zero at the end":  {"%C%K\x00\x00\x00", certstest.ECDSAP256, certs.PKCS8, same},
		"RSA in PKCS #8":            {"%C%K", certstest.RSA2048, certs.PKCS8, same},
		"Ed25519":                   {"%K\n\n%C", certstest.Ed25519, certs.PKCS8, same},
		"Windows line ends":         {"# top\r\n%C# between\r\n%K", certstest.ECDSAP256, certs.SEC1, windows},
		"without a final line end":  {"%C%K", certstest.ECDSAP256, certs.SEC1, func(s string) string { return s }},
	} {
		t.Run(name, func(t *testing.T) {
			ca := certstest.NewCA(t, "ca")
			p := ca.Leaf(t, certstest.WithKey(test.like, test.block))
			m := newMaterial(t, ca, p)
			render := func(p certstest.Pair, write func(string) string) string {
				return strings.NewReplacer("%C", write(string(p.CertPEM())), "%K", write(string(p.KeyPEM(t)))).Replace(test.text)
			}
			old := render(p, test.old)
			if strings.HasPrefix(name, "without") {
				old = strings.TrimSuffix(old, "\n")
			}
			tree := certstest.Kubeadm(t, "cp1")
			tree.Write(t, "/t/both.pem", []byte(old), 0o600)
			s := inventory.Store{Kind: inventory.Combined, Cert: "/t/both.pem"}
			require.NoError(t, store.ReplaceStore(tree.Root, s, m))
			got, err := tree.Root.ReadFile(s.Cert)
			require.NoError(t, err)
			assert.Equal(t, render(certstest.Pair{Chain: m.Chain, Key: m.Key}, same), string(got))
			c, err := store.ReadStore(tree.Root, s)
			require.NoError(t, err)
			require.NoError(t, c.KeyErr)
			assert.Equal(t, test.block, c.Key.BlockType)
		})
	}
}
