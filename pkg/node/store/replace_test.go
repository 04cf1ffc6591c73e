package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// authorityOf returns the CA that issued a certificate of the tree.
func authorityOf(tree *certstest.Tree, name string) certstest.CA {
	switch {
	case strings.HasPrefix(name, "etcd-"), name == "apiserver-etcd-client":
		return tree.EtcdCA
	case name == "front-proxy-client":
		return tree.FrontProxyCA
	default:
		return tree.CA
	}
}

// newDated is the name of the dated file that a Replace of this test process makes.
func newDated() string {
	return "kubelet-client-" + certstest.Now.Format("2006-01-02-15-04-05") + ".pem"
}

// TestReplaceAndRestore replaces and restores every store of a node: it checks the changed and
// the kept files, and that every byte is restored.
func TestReplaceAndRestore(t *testing.T) {
	for _, kind := range []struct {
		name string
		is   []certstest.Option
	}{
		{"RSA", []certstest.Option{certstest.WithKey(certstest.RSA2048, "")}},
		{"ECDSA", nil},
		{"Ed25519", []certstest.Option{certstest.WithKey(certstest.Ed25519, "")}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1", kind.is...)
			root := string(tree.Root)
			for _, paths := range tree.Stores {
				setUnusualAttributes(t, tree, paths)
			}
			for name, s := range tree.Stores {
				t.Run(name, func(t *testing.T) {
					before := takePicture(t, root)
					dir := filepath.Join(t.TempDir(), "backups", "of", "this")
					require.NoError(t, store.BackUp(tree.Root, s, dir))
					assert.Empty(t, changedPaths(before, takePicture(t, root)), "a backup changes nothing")

					m := newMaterial(t, authorityOf(tree, name), tree.Pairs[name])
					require.NoError(t, store.ReplaceStore(tree.Root, s, m))
					after := takePicture(t, root)
					assert.ElementsMatch(t, touchedPaths(tree, s), filesOnly(changedPaths(before, after)))
					for _, path := range filesOnly(changedPaths(before, after)) {
						if old, ok := before[path]; ok {
							now := after[path]
							assert.NotEqual(t, old.Text, now.Text)
							old.Text = ""
							now.Text = ""
							assert.Equal(t, old, now, "%s keeps owner, mode and attributes", path)
						}
					}
					c, err := store.ReadStore(tree.Root, s)
					require.NoError(t, err)
					require.NoError(t, c.KeyErr)
					assert.Equal(t, m.Chain, c.Chain)
					assert.Equal(t, m.Key.BlockType, c.Key.BlockType)

					require.NoError(t, store.ReplaceStore(tree.Root, s, m))
					assert.Empty(t, changedPaths(after, takePicture(t, root)), "the same Replace again changes nothing")
					require.NoError(t, store.BackUp(tree.Root, s, dir), "does not take the new for the old")

					for range 2 {
						require.NoError(t, store.RestoreStore(tree.Root, s, dir, certs.Fingerprint(m.Chain[0])))
						assert.Empty(t, changedPaths(before, takePicture(t, root)), "all as it was")
					}
				})
			}
		})
	}
}

// touchedPaths returns the host paths that a replacement of a store may change or create.
func touchedPaths(tree *certstest.Tree, s inventory.Store) []string {
	switch s.Kind {
	case inventory.Pair:
		return []string{s.Cert, s.Key}
	case inventory.Combined:
		return []string{s.Cert, filepath.Join(filepath.Dir(tree.KubeletCurrent), newDated())}
	default:
		return []string{s.Cert}
	}
}

// filesOnly leaves out directories, whose only change is the time of their last entry.
func filesOnly(paths []string) []string {
	return slices.DeleteFunc(paths, func(p string) bool { return filepath.Ext(p) == "" })
}

// setUnusualAttributes gives a store's files an unusual owner, mode and attributes.
func setUnusualAttributes(t *testing.T, tree *certstest.Tree, s inventory.Store) {
	t.Helper()
	paths := []string{s.Cert}
	if s.Kind == inventory.Combined {
		paths = []string{tree.KubeletCurrent}
	}
	if s.Key != "" {
		paths = append(paths, s.Key)
	}
	for i, p := range paths {
		local := tree.Local(p)
		require.NoError(t, unix.Setxattr(local, "user.canary", []byte{byte(i), 0, 'x'}, 0))
		if isRoot() {
			require.NoError(t, os.Chown(local, 1001+i, 2002+i))
		}
		require.NoError(t, os.Chmod(local, os.FileMode(0o640+i)))
	}
	if s.Kind == inventory.Combined && isRoot() {
		require.NoError(t, os.Lchown(tree.Local(s.Cert), 1003, 2003))
	}
}

// TestReplaceKeepsSecurityAttributes covers what only root may set: an SELinux label
// (kept on disk even where SELinux is off) and an ACL.
func TestReplaceKeepsSecurityAttributes(t *testing.T) {
	if !isRoot() {
		t.Skip("labels and other people's ACLs can only be set as root")
	}
	tree := certstest.Kubeadm(t, "cp1")
	s := tree.Stores["apiserver"]
	key := tree.Local(s.Key)
	label := []byte("system_u:object_r:cert_t:s0\x00")
	require.NoError(t, unix.Setxattr(key, "security.selinux", label, 0))
	// user::rw- user:1234:r-- group::--- mask::r-- other::---
	acl := []byte("\x02\x00\x00\x00" + "\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xd2\x04\x00\x00" +
		"\x04\x00\x00\x00\xff\xff\xff\xff" + "\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff")
	require.NoError(t, unix.Setxattr(key, "system.posix_acl_access", acl, 0))
	before := takePicture(t, filepath.Dir(key))

	dir := t.TempDir()
	require.NoError(t, store.BackUp(tree.Root, s, dir))
	require.NoError(t, store.ReplaceStore(tree.Root, s, newMaterial(t, tree.CA, tree.Pairs["apiserver"])))
	got := xattrsOf(t, key)
	assert.Equal(t, string(label), got["security.selinux"])
	assert.Equal(t, string(acl), got["system.posix_acl_access"])
	assert.Equal(t, before["/apiserver.key"].Mode, takePicture(t, filepath.Dir(key))["/apiserver.key"].Mode)

	require.NoError(t, os.Remove(key))
	require.NoError(t, store.RestoreStore(tree.Root, s, dir))
	assert.Empty(t, changedPaths(before, takePicture(t, filepath.Dir(key))), "restored from nothing")
}

// TestReplaceTakesNoACLFromTheDirectory: a default ACL would open the new key to others.
func TestReplaceTakesNoACLFromTheDirectory(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	s := tree.Stores["apiserver"]
	acl := []byte("\x02\x00\x00\x00" + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x04\x00\xd2\x04\x00\x00" +
		"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff")
	require.NoError(t, unix.Setxattr(filepath.Dir(tree.Local(s.Key)), "system.posix_acl_default", acl, 0))
	require.NoError(t, store.ReplaceStore(tree.Root, s, newMaterial(t, tree.CA, tree.Pairs["apiserver"])))
	assert.NotContains(t, xattrsOf(t, tree.Local(s.Key)), "system.posix_acl_access")
	info, err := os.Stat(tree.Local(s.Key))
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode())
}

func TestReplaceFollowsSymlinks(t *testing.T) {
	for _, test := range []struct {
		name, link, text string
	}{
		{"absolute on the host", "/etc/kubernetes/pki/apiserver.crt", "/data/apiserver.crt"},
		{"relative", "/etc/kubernetes/pki/apiserver.crt", "../../../data/apiserver.crt"},
		{"a directory", "/etc/kubernetes/pki", "/data/pki"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			require.NoError(t, os.MkdirAll(tree.Local("/data"), 0o755))
			require.NoError(t, os.Rename(tree.Local(test.link), tree.Local("/data/"+filepath.Base(test.link))))
			require.NoError(t, os.Symlink(test.text, tree.Local(test.link)))
			s := tree.Stores["apiserver"]
			p := tree.Pairs["apiserver"]
			before := takePicture(t, string(tree.Root))
			dir := t.TempDir()
			require.NoError(t, store.BackUp(tree.Root, s, dir))

			m := newMaterial(t, tree.CA, p)
			require.NoError(t, store.ReplaceStore(tree.Root, s, m))
			text, err := os.Readlink(tree.Local(test.link))
			require.NoError(t, err)
			assert.Equal(t, test.text, text, "the link stays")
			c, err := store.ReadStore(tree.Root, s)
			require.NoError(t, err)
			require.NoError(t, c.KeyErr)
			assert.Equal(t, m.Chain, c.Chain)

			require.NoError(t, store.RestoreStore(tree.Root, s, dir))
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
		})
	}
}

func TestReplaceOneFileWithBoth(t *testing.T) {
	for _, test := range []struct {
		name  string
		store inventory.Store
	}{
		{"a pair whose paths are the same", inventory.Store{Kind: inventory.Pair, Cert: "/t/both.pem", Key: "/t/both.pem"}},
		{"a pair whose paths lead to the same", inventory.Store{Kind: inventory.Pair, Cert: "/t/both.pem", Key: "/t/link.pem"}},
		{"combined, without a symlink", inventory.Store{Kind: inventory.Combined, Cert: "/t/both.pem"}},
		{"combined, behind a symlink that is not the kubelet's", inventory.Store{Kind: inventory.Combined, Cert: "/t/link.pem"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			p := tree.CA.Leaf(t)
			tree.Write(t, "/t/both.pem", append(p.CertPEM(), p.KeyPEM(t)...), 0o600)
			require.NoError(t, os.Symlink("both.pem", tree.Local("/t/link.pem")))
			before := takePicture(t, string(tree.Root))
			dir := t.TempDir()
			require.NoError(t, store.BackUp(tree.Root, test.store, dir))
			m := newMaterial(t, tree.CA, p)
			require.NoError(t, store.ReplaceStore(tree.Root, test.store, m))
			assert.Equal(t, []string{"/t/both.pem"}, filesOnly(changedPaths(before, takePicture(t, string(tree.Root)))))
			c, err := store.ReadStore(tree.Root, test.store)
			require.NoError(t, err)
			require.NoError(t, c.KeyErr)
			assert.Equal(t, m.Chain, c.Chain)
			require.NoError(t, store.RestoreStore(tree.Root, test.store, dir))
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
		})
	}
}

func TestReplaceRefusals(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	good := newMaterial(t, tree.CA, tree.Pairs["apiserver"])
	s := tree.Stores["apiserver"]
	require.NoError(t, os.Symlink("/etc/kubernetes/pki/apiserver.key", tree.Local("/outside")))
	before := takePicture(t, string(tree.Root))
	for _, test := range []struct {
		name     string
		store    inventory.Store
		material store.Material
		err      string
	}{
		{"no certificate", s, store.Material{Key: good.Key}, "there is no certificate"},
		{"no key", s, store.Material{Chain: good.Chain}, "the key does not fit"},
		{"key that does not fit", s, store.Material{Chain: good.Chain, Key: tree.Pairs["apiserver"].Key}, "the key does not fit"},
		{"no old certificate", inventory.Store{Kind: inventory.Pair, Cert: "/none.crt", Key: s.Key}, good, `read "/none.crt": open: no such file`},
		{"no old key", inventory.Store{Kind: inventory.Pair, Cert: s.Cert, Key: "/none.key"}, good, `read "/none.key": open: no such file`},
		{"a directory", inventory.Store{Kind: inventory.Pair, Cert: s.Cert, Key: "/etc"}, good, "not a regular file"},
		{"a kubeconfig without that user", inventory.Store{Kind: inventory.Kubeconfig, Cert: "/etc/kubernetes/admin.conf", User: "other"}, good, `no user "other"`},
		{"unknown kind", inventory.Store{Kind: "Vault", Cert: s.Cert}, good, "unknown kind of store"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := store.ReplaceStore(tree.Root, test.store, test.material)
			require.ErrorContains(t, err, test.err)
			assert.ErrorContains(t, err, "replace certificate in")
			assert.NotContains(t, err.Error(), string(tree.Root))
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
		})
	}
}
