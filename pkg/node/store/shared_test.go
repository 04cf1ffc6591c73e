package store_test

import (
	"bytes"
	"encoding/pem"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// TestPairsOfOneKeyFile: each is replaced in turn, with the same key, and put back in turn.
func TestPairsOfOneKeyFile(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	one := ca.Leaf(t, certstest.Name("one"))
	two := ca.Leaf(t, certstest.Name("two"), certstest.OfKey(one.Key))
	tree := certstest.Tree{Root: hostfs.Root(t.TempDir())}
	a := tree.WritePair(t, "/pki/one", one)
	tree.Write(t, "/pki/two.crt", two.CertPEM(), 0o644)
	require.NoError(t, os.Symlink("one.key", tree.Local("/pki/two.key")))
	b := inventory.Store{Kind: inventory.Pair, Cert: "/pki/two.crt", Key: "/pki/two.key"}
	before := takePicture(t, string(tree.Root))

	key, err := certs.NewKeyLike(one.Leaf().PublicKey, "")
	require.NoError(t, err)
	backups := t.TempDir()
	for name, s := range map[string]inventory.Store{"a": a, "b": b} {
		require.NoError(t, store.BackUp(tree.Root, s, filepath.Join(backups, name)))
	}
	for range 2 {
		require.NoError(t, store.ReplaceStore(tree.Root, a, store.Material{Chain: ca.Leaf(t, certstest.Name("one"), certstest.OfKey(key)).Chain, Key: key}))
		require.NoError(t, store.ReplaceStore(tree.Root, b, store.Material{Chain: ca.Leaf(t, certstest.Name("two"), certstest.OfKey(key)).Chain, Key: key}))
		for _, s := range []inventory.Store{a, b} {
			c, err := store.ReadStore(tree.Root, s)
			require.NoError(t, err)
			require.NoError(t, c.KeyErr)
			assert.True(t, key.FitsCert(c.LeafCert()))
		}
	}
	link, err := os.Readlink(tree.Local("/pki/two.key"))
	require.NoError(t, err)
	assert.Equal(t, "one.key", link)
	for _, name := range []string{"b", "a", "b"} {
		s := map[string]inventory.Store{"a": a, "b": b}[name]
		require.NoError(t, store.RestoreStore(tree.Root, s, filepath.Join(backups, name)))
	}
	assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
}

// TestAKeyThatStaysIsNotTouched: its file keeps every byte, and its time.
func TestAKeyThatStaysIsNotTouched(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	old := ca.Leaf(t)
	tree := certstest.Tree{Root: hostfs.Root(t.TempDir())}
	s := tree.WritePair(t, "/pki/apiserver", old)
	text := append([]byte("# signs tokens, too\n"), bytes.ReplaceAll(old.KeyPEM(t), []byte("\n"), []byte("\r\n"))...)
	tree.Write(t, s.Key, text, 0o600)
	before, err := os.Stat(tree.Local(s.Key))
	require.NoError(t, err)
	m := store.Material{Chain: ca.Leaf(t, certstest.OfKey(old.Key)).Chain, Key: old.Key}
	require.NoError(t, store.ReplaceStore(tree.Root, s, m))
	after, err := os.Stat(tree.Local(s.Key))
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
	now, err := os.ReadFile(tree.Local(s.Key))
	require.NoError(t, err)
	assert.True(t, bytes.Equal(text, now))
	c, err := store.ReadStore(tree.Root, s)
	require.NoError(t, err)
	require.NoError(t, c.KeyErr)
	assert.Equal(t, m.Chain, c.Chain)
}

// TestOtherContentOfAFileIsKept in every kind of store.
func TestOtherContentOfAFileIsKept(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	old := ca.Leaf(t)
	other := ca.Leaf(t)
	next := func() store.Material {
		p := ca.Leaf(t)
		return store.Material{Chain: p.Chain, Key: p.Key}
	}
	dh := pem.EncodeToMemory(&pem.Block{Type: "DH PARAMETERS", Bytes: []byte{1, 2, 3}})
	curve := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42}})
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	kubeconfig := func(m certstest.Pair, certPEM, keyPEM []byte) []byte {
		text := certstest.Kubeconfig(t, ca, "admin", m)
		text = bytes.ReplaceAll(text, base64Of(m.CertPEM()), base64Of(certPEM))
		return bytes.ReplaceAll(text, base64Of(m.KeyPEM(t)), base64Of(keyPEM))
	}
	for name, test := range map[string]struct {
		kind inventory.StoreKind
		cert func(p certstest.Pair) []byte
		key  func(p certstest.Pair) []byte
	}{
		"pair": {inventory.Pair, func(p certstest.Pair) []byte { return join(dh, []byte("# leaf\n"), p.CertPEM(), other.KeyPEM(t)) },
			func(p certstest.Pair) []byte { return join(curve, p.KeyPEM(t), other.KeyPEM(t)) }},
		"pair, key in the certificate's file too": {inventory.Pair, func(p certstest.Pair) []byte { return join(p.KeyPEM(t), p.CertPEM()) },
			func(p certstest.Pair) []byte { return p.KeyPEM(t) }},
		"pair, certificate in the key's file too": {inventory.Pair, func(p certstest.Pair) []byte { return p.CertPEM() },
			func(p certstest.Pair) []byte { return join(p.CertPEM(), dh, p.KeyPEM(t)) }},
		"combined": {inventory.Combined, func(p certstest.Pair) []byte { return join(p.KeyPEM(t), dh, p.CertPEM(), dh) }, nil},
		"kubeconfig": {inventory.Kubeconfig, func(p certstest.Pair) []byte {
			return kubeconfig(p, join([]byte("# leaf\n"), p.CertPEM(), dh), join(curve, p.KeyPEM(t)))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			tree := certstest.Tree{Root: hostfs.Root(t.TempDir())}
			s := inventory.Store{Kind: test.kind, Cert: "/pki/file"}
			tree.Write(t, s.Cert, test.cert(old), 0o600)
			if test.key != nil {
				s.Key = "/pki/file.key"
				tree.Write(t, s.Key, test.key(old), 0o600)
			}
			if test.kind == inventory.Kubeconfig {
				s.User = "admin"
			}
			m := next()
			require.NoError(t, store.ReplaceStore(tree.Root, s, m))
			p := certstest.Pair{Chain: m.Chain, Key: m.Key}
			got, err := os.ReadFile(tree.Local(s.Cert))
			require.NoError(t, err)
			assert.True(t, bytes.Equal(test.cert(p), got), "the certificate's file")
			if test.key != nil {
				got, err := os.ReadFile(tree.Local(s.Key))
				require.NoError(t, err)
				assert.True(t, bytes.Equal(test.key(p), got), "the key's file")
			}
		})
	}
}
