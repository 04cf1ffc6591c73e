package store_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

func TestReadEveryStoreOfANode(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	for name, s := range tree.Stores {
		t.Run(name, func(t *testing.T) {
			c, err := store.ReadStore(tree.Root, s)
			require.NoError(t, err)
			require.NoError(t, c.KeyErr)
			require.Len(t, c.Chain, len(tree.Pairs[name].Chain))
			assert.True(t, c.LeafCert().Equal(tree.Pairs[name].Leaf()))
			assert.True(t, c.Key.FitsCert(tree.Pairs[name].Leaf()))
		})
	}
}

// TestReadFindings: an error of the key is returned beside the certificate.
func TestReadFindings(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	ca := tree.CA
	a := ca.Leaf(t)
	b := ca.Leaf(t)
	put := func(name string, data []byte) string {
		tree.Write(t, "/t/"+name, data, 0o600)
		return "/t/" + name
	}
	pair := func(cert, key string) inventory.Store {
		return inventory.Store{Kind: inventory.Pair, Cert: cert, Key: key}
	}
	crt := put("a.crt", a.CertPEM())
	key := put("a.key", a.KeyPEM(t))
	other := put("b.key", b.KeyPEM(t))
	text := put("text", []byte("nothing"))
	fifo := "/t/fifo"
	require.NoError(t, syscall.Mkfifo(tree.Local(fifo), 0o600))
	require.NoError(t, os.Truncate(tree.Local(put("huge", nil)), 5<<20))
	mixed := certstest.Kubeconfig(t, ca, "x", certstest.Pair{Chain: a.Chain, Key: b.Key})

	for _, test := range []struct {
		name   string
		store  inventory.Store
		keyErr string // the certificate is read all the same
		err    string
	}{
		{"good", pair(crt, key), "", ""},
		{"key of another", pair(crt, other), `key in "/t/b.key" does not fit the certificate in "/t/a.crt"`, ""},
		{"leaf is not first", pair(put("c.crt", append(certs.EncodePEM(ca.Cert), a.CertPEM()...)), key), "but number 2, which has to come first", ""},
		{"encrypted key", pair(crt, put("e.key", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"))), "encrypted with a passphrase", ""},
		{"byte order mark", pair(put("bom.crt", append([]byte("\ufeff"), a.CertPEM()...)), key), "", "no CERTIFICATE block"},
		{"key missing", pair(crt, "/t/none"), `read "/t/none": no such file`, ""},
		{"key is no key", pair(crt, text), `read key from "/t/text": no private key block`, ""},
		{"key is a FIFO", pair(crt, fifo), "not a regular file", ""},
		{"key is a directory", pair(crt, "/t"), "not a regular file", ""},
		{"certificate missing", pair("/t/none", key), "", `read "/t/none": no such file`},
		{"certificate is no certificate", pair(text, key), "", `read certificate from "/t/text": no CERTIFICATE block`},
		{"certificate is a FIFO", pair(fifo, key), "", "not a regular file"},
		{"certificate is huge", pair("/t/huge", key), "", "larger than"},
		{"combined without key", inventory.Store{Kind: inventory.Combined, Cert: crt}, "no private key block", ""},
		{"kubeconfig whose key does not fit", inventory.Store{Kind: inventory.Kubeconfig, Cert: put("m.conf", mixed), User: "x"}, "does not fit", ""},
		{"kubeconfig without that user", inventory.Store{Kind: inventory.Kubeconfig, Cert: "/t/m.conf", User: "y"}, "", `no user "y"`},
		{"kubeconfig with a token only", inventory.Store{Kind: inventory.Kubeconfig, Cert: put("t.conf", []byte("users:\n- name: x\n  user:\n    token: secret\n")), User: "x"}, "", "has no client-certificate-data"},
		{"kubeconfig that is not YAML", inventory.Store{Kind: inventory.Kubeconfig, Cert: put("y.conf", []byte("client-key-data: {secret")), User: "x"}, "", "not valid YAML"},
		{"kubeconfig that is not base64", inventory.Store{Kind: inventory.Kubeconfig, Cert: put("b.conf", []byte("users: [{name: x, user: {client-certificate-data: '?'}}]")), User: "x"}, "", "is not base64"},
		{"kubeconfig with a user twice", inventory.Store{Kind: inventory.Kubeconfig, Cert: put("d.conf", []byte("users: [{name: x, user: {}}, {name: x, user: {}}]")), User: "x"}, "", "is there 2 times"},
		{"unknown kind", inventory.Store{Kind: "Vault", Cert: crt}, "", `unknown kind of store "Vault"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := store.ReadStore(tree.Root, test.store)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				assert.NotContains(t, err.Error(), "secret")
				assert.NotContains(t, err.Error(), string(tree.Root))
				return
			}
			require.NoError(t, err)
			if test.name != "leaf is not first" {
				assert.True(t, c.LeafCert().Equal(a.Leaf()))
			}
			if test.keyErr != "" {
				require.ErrorContains(t, c.KeyErr, test.keyErr)
				assert.Nil(t, c.Key.Signer)
				return
			}
			assert.NoError(t, c.KeyErr)
		})
	}
}

func TestWriteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	require.NoError(t, store.WriteFile(path, []byte("one"), 0o640))
	require.NoError(t, store.WriteFile(path, []byte("two"), 0o644))
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	assert.Equal(t, "two", string(data))
	info, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o644), info.Mode(), "whatever the umask")
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, entries, 1, "nothing else is left")
	assert.ErrorContains(t, store.WriteFile(filepath.Join(path, "below"), nil, 0o600), "not a directory")
}
