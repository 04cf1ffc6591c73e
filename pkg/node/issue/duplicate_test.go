package issue_test

import (
	"crypto/x509"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
)

// TestSecondCopyOfTheLeaf: a file that has the old certificate twice gets no copy of it after the new
// one. The certificates of its CAs stay, the root among them.
func TestSecondCopyOfTheLeaf(t *testing.T) {
	root := certstest.NewCA(t, "root")
	issuing := root.Intermediate(t, "issuing")
	leaf := issuing.Leaf(t).Leaf()
	tree := certstest.Kubeadm(t, "cp1")
	tree.Write(t, "/ca.crt", certs.EncodePEM(issuing.Cert, root.Cert), 0o600)
	key, err := issuing.Key.PEM()
	require.NoError(t, err)
	tree.Write(t, "/ca.key", key, 0o600)
	for name, test := range map[string]struct{ old, want []*x509.Certificate }{
		"directly after it":      {[]*x509.Certificate{leaf, leaf, issuing.Cert}, []*x509.Certificate{issuing.Cert}},
		"at the end":             {[]*x509.Certificate{leaf, issuing.Cert, root.Cert, leaf}, []*x509.Certificate{issuing.Cert, root.Cert}},
		"nothing but copies":     {[]*x509.Certificate{leaf, leaf}, nil},
		"an authority twice":     {[]*x509.Certificate{leaf, issuing.Cert, issuing.Cert}, []*x509.Certificate{issuing.Cert}},
		"none, with its root":    {[]*x509.Certificate{leaf, issuing.Cert, root.Cert}, []*x509.Certificate{issuing.Cert, root.Cert}},
		"none, in another order": {[]*x509.Certificate{leaf, root.Cert, issuing.Cert}, []*x509.Certificate{root.Cert, issuing.Cert}},
	} {
		successor, err := certs.NewKeyLike(leaf.PublicKey, "")
		require.NoError(t, err)
		got, err := issue.LocalCA{Root: tree.Root, CACert: "/ca.crt", CAKey: "/ca.key"}.IssueSuccessor(t.Context(), issue.Request{Old: test.old, Key: successor, Now: now})
		require.NoError(t, err, name)
		assert.Equal(t, certs.EncodePEM(test.want...), certs.EncodePEM(got[1:]...), name)
	}
}
