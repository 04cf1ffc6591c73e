package store_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

func TestBackupIsForRootOnly(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	for name, s := range tree.Stores {
		dir := filepath.Join(t.TempDir(), "a", "b")
		require.NoError(t, store.BackUp(tree.Root, s, dir))
		for path, e := range takePicture(t, dir) {
			if e.Mode.IsDir() {
				assert.Equal(t, os.FileMode(0o700), e.Mode.Perm(), "%s %s", name, path)
			} else {
				assert.Equal(t, os.FileMode(0o600), e.Mode, "%s %s", name, path)
			}
		}
		manifest, err := os.ReadFile(filepath.Join(dir, "backup.json"))
		require.NoError(t, err)
		assert.NotContains(t, string(manifest), "PRIVATE KEY")
	}
}

func TestBackupBelongsToOneStore(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	dir := t.TempDir()
	require.NoError(t, store.BackUp(tree.Root, tree.Stores["etcd-peer"], dir))
	before := takePicture(t, string(tree.Root))

	err := store.BackUp(tree.Root, tree.Stores["etcd-server"], dir)
	assert.ErrorContains(t, err, "is the backup of another store")
	err = store.RestoreStore(tree.Root, tree.Stores["etcd-server"], dir)
	assert.ErrorContains(t, err, "is the backup of another store")

	found := tree.Stores["etcd-peer"]
	found.Directories = []string{"/elsewhere"} // its directories are no part of its identity
	assert.NoError(t, store.RestoreStore(tree.Root, found, dir))
	assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
}

func TestRestoreRefusesADamagedBackup(t *testing.T) {
	for name, damage := range map[string]func(dir string) error{
		"changed":     func(dir string) error { return os.WriteFile(filepath.Join(dir, "1.saved"), []byte("x"), 0o600) },
		"cut":         func(dir string) error { return os.Truncate(filepath.Join(dir, "0.saved"), 5) },
		"missing":     func(dir string) error { return os.Remove(filepath.Join(dir, "1.saved")) },
		"no manifest": func(dir string) error { return os.Remove(filepath.Join(dir, "backup.json")) },
		"manifest is not JSON": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "backup.json"), []byte("{"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			s := tree.Stores["apiserver"]
			dir := t.TempDir()
			require.NoError(t, store.BackUp(tree.Root, s, dir))
			require.NoError(t, store.ReplaceStore(tree.Root, s, newMaterial(t, tree.CA, tree.Pairs["apiserver"])))
			before := takePicture(t, string(tree.Root))
			require.NoError(t, damage(dir))
			require.ErrorContains(t, store.RestoreStore(tree.Root, s, dir), `restore "/etc/kubernetes/pki/apiserver.crt"`)
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))), "not even the half that is whole")
		})
	}
}

// TestBackupIsTakenAgainWhereItWasInterrupted: without a manifest there is none.
func TestBackupIsTakenAgainWhereItWasInterrupted(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	s := tree.Stores["apiserver"]
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0.saved"), []byte("half"), 0o600))
	require.NoError(t, store.BackUp(tree.Root, s, dir))
	before := takePicture(t, string(tree.Root))
	require.NoError(t, store.ReplaceStore(tree.Root, s, newMaterial(t, tree.CA, tree.Pairs["apiserver"])))
	require.NoError(t, store.RestoreStore(tree.Root, s, dir))
	assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
}

// TestRestoreFromAnyState: the old files are restored from every state.
func TestRestoreFromAnyState(t *testing.T) {
	for name, disturb := range map[string]func(t *testing.T, path string){
		"removed":      func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"emptied":      func(t *testing.T, path string) { require.NoError(t, os.Truncate(path, 0)) },
		"other mode":   func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0o777)) },
		"now a link":   func(t *testing.T, path string) { replaceByLink(t, path) },
		"same, newer":  func(t *testing.T, path string) { require.NoError(t, os.Chtimes(path, certstest.Now, certstest.Now)) },
		"hidden trash": func(t *testing.T, path string) { trashFile(t, path) },
	} {
		t.Run(name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			for _, kind := range []string{"apiserver", "admin.conf"} {
				s := tree.Stores[kind]
				dir := t.TempDir()
				before := takePicture(t, string(tree.Root))
				require.NoError(t, store.BackUp(tree.Root, s, dir))
				disturb(t, tree.Local(s.Cert))
				require.NoError(t, store.RestoreStore(tree.Root, s, dir))
				assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
			}
		})
	}
}

func replaceByLink(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.Remove(path))
	require.NoError(t, os.Symlink("elsewhere", path))
}

func trashFile(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".rotate-certs-new"), nil, 0o600))
}

func TestRestoreTurnsTheLinkBackFromAnyState(t *testing.T) {
	for name, disturb := range map[string]func(t *testing.T, link string){
		"removed":         func(t *testing.T, link string) { require.NoError(t, os.Remove(link)) },
		"a file":          func(t *testing.T, link string) { require.NoError(t, os.Remove(link)); trashAt(t, link) },
		"turned to other": func(t *testing.T, link string) { replaceByLink(t, link) },
	} {
		t.Run(name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			s := tree.Stores["kubelet-client"]
			dir := t.TempDir()
			before := takePicture(t, string(tree.Root))
			require.NoError(t, store.BackUp(tree.Root, s, dir))
			disturb(t, tree.Local(s.Cert))
			require.NoError(t, store.RestoreStore(tree.Root, s, dir))
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
		})
	}
}

func trashAt(t *testing.T, path string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte("trash"), 0o600))
}

func TestDestroyBackup(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	parent := t.TempDir()
	all := filepath.Join(parent, "backup")
	dir := filepath.Join(all, "1")
	require.NoError(t, store.BackUp(tree.Root, tree.Stores["apiserver"], dir))
	require.NoError(t, store.BackUp(tree.Root, tree.Stores["etcd-peer"], filepath.Join(all, "2")))
	// A second name of the same file shows its content afterwards.
	witness := filepath.Join(parent, "witness")
	require.NoError(t, os.Link(filepath.Join(dir, "0.saved"), witness))
	outside := filepath.Join(parent, "outside")
	require.NoError(t, os.WriteFile(outside, []byte("not ours"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))

	require.NoError(t, store.DestroyBackup(all))
	assert.NoDirExists(t, all)
	data, err := os.ReadFile(witness)
	require.NoError(t, err)
	assert.NotEmpty(t, data)
	assert.Equal(t, make([]byte, len(data)), data, "overwritten with zeros")
	data, err = os.ReadFile(outside)
	require.NoError(t, err)
	assert.Equal(t, "not ours", string(data), "links are not followed")
	assert.NoError(t, store.DestroyBackup(all), "again")
}

// TestRestoreKeepsChangesOfOtherPrograms: other programs may have changed the content around the old
// certificate in the same file.
func TestRestoreKeepsChangesOfOtherPrograms(t *testing.T) {
	for name, test := range map[string]struct {
		store string
		edit  func(text string) string
	}{
		"a comment in a certificate's file": {"apiserver", func(text string) string { return "# renewed by hand\n" + text }},
		"a kubeconfig's server":             {"admin.conf", func(text string) string { return strings.ReplaceAll(text, "10.0.0.11", "10.0.0.12") }},
	} {
		t.Run(name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			s := tree.Stores[test.store]
			dir := t.TempDir()
			require.NoError(t, store.BackUp(tree.Root, s, dir))
			text, err := os.ReadFile(tree.Local(s.Cert))
			require.NoError(t, err)
			edited := test.edit(string(text))
			require.NotEqual(t, string(text), edited)
			require.NoError(t, os.WriteFile(tree.Local(s.Cert), []byte(edited), 0o600))
			require.NoError(t, store.RestoreStore(tree.Root, s, dir))
			now, err := os.ReadFile(tree.Local(s.Cert))
			require.NoError(t, err)
			assert.Equal(t, edited, string(now))
		})
	}
}

func TestCompare(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	old := tree.Pairs["apiserver"]
	made := newMaterial(t, tree.CA, old)
	third := tree.CA.Leaf(t)
	before := certs.Fingerprint(old.Leaf())
	after := certs.Fingerprint(made.Chain[0])
	s := tree.Stores["apiserver"]
	path := certstest.PKIDir + "/apiserver"
	is := func(want store.Generation, what string) {
		t.Helper()
		got, _ := store.CompareStore(tree.Root, s, before, after)
		assert.Equal(t, want, got, what)
	}
	is(store.Old, "untouched")
	require.NoError(t, store.ReplaceStore(tree.Root, s, made))
	is(store.New, "replaced")
	tree.Write(t, path+".crt", old.CertPEM(), 0o644)
	is(store.Mixed, "between two renames")
	tree.WritePair(t, path, third)
	is(store.Foreign, "another pair")
	tree.WritePair(t, path, tree.CA.Leaf(t, certstest.OfKey(old.Key)))
	is(store.Foreign, "another certificate for the old key")
	tree.Write(t, path+".key", third.KeyPEM(t), 0o600)
	is(store.Mixed, "another certificate that does not fit its key")
	require.NoError(t, os.Remove(tree.Local(path+".crt")))
	is(store.Mixed, "nothing there")

	s = tree.Stores["admin.conf"]
	tree.Write(t, s.Cert, []byte("users: [{name: kubernetes-admin, user: {token: x}}]\n"), 0o600)
	is(store.Foreign, "a kubeconfig whose user has a token now")
	tree.Write(t, s.Cert, nil, 0o600)
	is(store.Mixed, "an empty kubeconfig")
}
