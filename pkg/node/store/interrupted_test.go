package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// TestRemainsOfAnInterruptedReplace leaves the files that a crash at each point would leave,
// and continues in both directions.
func TestRemainsOfAnInterruptedReplace(t *testing.T) {
	const staged = ".rotate-certs-new"
	dated := certstest.KubeletDir + "/kubelet-client-2026-02-02-02-02-02.pem"
	hidden := func(path string) string { return filepath.Dir(path) + "/." + filepath.Base(path) + staged }
	write := func(path string) func(*testing.T, *certstest.Tree) {
		return func(t *testing.T, tree *certstest.Tree) { tree.Write(t, path, []byte("half"), 0o600) }
	}
	link := func(path, text string) func(*testing.T, *certstest.Tree) {
		return func(t *testing.T, tree *certstest.Tree) { require.NoError(t, os.Symlink(text, tree.Local(path))) }
	}
	apiserver := certstest.PKIDir + "/apiserver"
	current := certstest.KubeletDir + "/kubelet-client-current.pem"
	admin := "/etc/kubernetes/admin.conf"
	for _, test := range []struct {
		name, store string
		remains     []func(*testing.T, *certstest.Tree)
	}{
		{"key half written", "apiserver", []func(*testing.T, *certstest.Tree){write(hidden(apiserver + ".key"))}},
		{"both written", "apiserver", []func(*testing.T, *certstest.Tree){write(hidden(apiserver + ".key")), write(hidden(apiserver + ".crt"))}},
		{"key replaced", "apiserver", []func(*testing.T, *certstest.Tree){write(apiserver + ".key"), write(hidden(apiserver + ".crt"))}},
		{"kubeconfig half written", "admin.conf", []func(*testing.T, *certstest.Tree){write(hidden(admin))}},
		{"link staged", "kubelet-client", []func(*testing.T, *certstest.Tree){link(hidden(current), dated)}},
		{"file half written", "kubelet-client", []func(*testing.T, *certstest.Tree){link(hidden(current), dated), write(hidden(dated))}},
		{"file named", "kubelet-client", []func(*testing.T, *certstest.Tree){link(hidden(current), dated), write(dated)}},
		{"file named, relative link", "kubelet-client", []func(*testing.T, *certstest.Tree){link(hidden(current), filepath.Base(dated)), write(dated)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			arrange := func(t *testing.T) (*certstest.Tree, inventory.Store, map[string]entry, string) {
				tree := certstest.Kubeadm(t, "cp1")
				before := takePicture(t, string(tree.Root))
				dir := t.TempDir()
				require.NoError(t, store.BackUp(tree.Root, tree.Stores[test.store], dir))
				for _, leave := range test.remains {
					leave(t, tree)
				}
				return tree, tree.Stores[test.store], before, dir
			}
			t.Run("back", func(t *testing.T) {
				tree, s, before, dir := arrange(t)
				require.NoError(t, store.RestoreStore(tree.Root, s, dir))
				assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
			})
			t.Run("forth", func(t *testing.T) {
				tree, s, before, dir := arrange(t)
				m := newMaterial(t, tree.CA, tree.Pairs[test.store])
				require.NoError(t, store.ReplaceStore(tree.Root, s, m))
				assert.ElementsMatch(t, touchedPaths(tree, s), filesOnly(changedPaths(before, takePicture(t, string(tree.Root)))))
				c, err := store.ReadStore(tree.Root, s)
				require.NoError(t, err)
				require.NoError(t, c.KeyErr)
				assert.Equal(t, m.Chain, c.Chain)
				require.NoError(t, store.RestoreStore(tree.Root, s, dir, certs.Fingerprint(m.Chain[0])))
				assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
			})
		})
	}
}

// TestCleaningUpTrustsNoStrangeLink: a user with write access to the directory can put a link
// in the place of a staged one.
func TestCleaningUpTrustsNoStrangeLink(t *testing.T) {
	for _, text := range []string{"/etc/kubernetes/admin.conf", certstest.KubeletDir + "/kubelet.key", "/var/lib/kubelet/pki/kubelet-client-2026-01-02-03-04-05.pem"} {
		t.Run(text, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			s := tree.Stores["kubelet-client"]
			before := takePicture(t, string(tree.Root))
			require.NoError(t, os.Symlink(text, tree.Local(certstest.KubeletDir+"/.kubelet-client-current.pem.rotate-certs-new")))
			require.NoError(t, store.ReplaceStore(tree.Root, s, newMaterial(t, tree.CA, tree.Pairs["kubelet-client"])))
			assert.ElementsMatch(t, touchedPaths(tree, s), filesOnly(changedPaths(before, takePicture(t, string(tree.Root)))))
		})
	}
	t.Run("nothing is written through a link in a staged file's place", func(t *testing.T) {
		tree := certstest.Kubeadm(t, "cp1")
		victim := tree.Local("/etc/kubernetes/admin.conf")
		before, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(victim, tree.Local(certstest.PKIDir+"/.apiserver.key.rotate-certs-new")))
		require.NoError(t, store.ReplaceStore(tree.Root, tree.Stores["apiserver"], newMaterial(t, tree.CA, tree.Pairs["apiserver"])))
		after, err := os.ReadFile(victim)
		require.NoError(t, err)
		assert.Equal(t, before, after)
	})
}
