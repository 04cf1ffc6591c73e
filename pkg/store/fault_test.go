package store_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/store"
)

// mount mounts for the length of a test.
func mount(t *testing.T, source, target, kind string, flags uintptr, data string) {
	t.Helper()
	err := unix.Mount(source, target, kind, flags, data)
	if errors.Is(err, unix.EPERM) {
		t.Skip("a full, read-only or busy file system can only be made by a root that may mount")
	}
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, unix.Unmount(target, unix.MNT_DETACH)) })
}

// smallDisk is a root on a file system of its own, with one store of each kind.
func smallDisk(t *testing.T) (root hostfs.Root, stores map[string]inventory.Store, materials map[string]store.Material) {
	t.Helper()
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
	tree := certstest.Tree{Root: hostfs.Root(dir)}
	ca := certstest.NewCA(t, "ca")
	p := ca.Leaf(t)
	tree.Write(t, "/k/client-2026-01-02-03-04-05.pem", append(p.CertPEM(), p.KeyPEM(t)...), 0o600)
	require.NoError(t, os.Symlink("/k/client-2026-01-02-03-04-05.pem", tree.Local("/k/client-current.pem")))
	tree.Write(t, "/c/admin.conf", certstest.Kubeconfig(t, ca, "admin", p), 0o600)
	stores = map[string]inventory.Store{
		"pair":       tree.WritePair(t, "/p/x", p),
		"combined":   {Kind: inventory.Combined, Cert: "/k/client-current.pem"},
		"kubeconfig": {Kind: inventory.Kubeconfig, Cert: "/c/admin.conf", User: "admin"},
	}
	materials = map[string]store.Material{}
	for name := range stores {
		materials[name] = successor(t, ca, p)
	}
	return tree.Root, stores, materials
}

// fill leaves that many pages of the file system free.
func fill(t *testing.T, dir string, pages uint64) {
	t.Helper()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	n := (st.Bavail - pages) * uint64(st.Bsize)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, n), 0o600))
	require.NoError(t, unix.Statfs(dir, &st))
	require.Equal(t, pages, st.Bavail)
}

func TestSwapOnAFullDiskLeavesTheOldSet(t *testing.T) {
	for _, kind := range []string{"pair", "combined", "kubeconfig"} {
		t.Run(kind, func(t *testing.T) {
			root, stores, materials := smallDisk(t)
			fill(t, string(root), 0)
			before := picture(t, string(root))
			err := store.Swap(root, stores[kind], materials[kind])
			require.ErrorIs(t, err, unix.ENOSPC)
			assert.Empty(t, changed(before, picture(t, string(root))), "nothing new, nothing left over")

			require.NoError(t, os.Remove(filepath.Join(string(root), "filler")))
			assert.NoError(t, store.Swap(root, stores[kind], materials[kind]), "with room again")
		})
	}
	t.Run("pair, room for one of the two", func(t *testing.T) {
		root, stores, materials := smallDisk(t)
		fill(t, string(root), 1)
		before := picture(t, string(root))
		err := store.Swap(root, stores["pair"], materials["pair"])
		require.ErrorIs(t, err, unix.ENOSPC)
		assert.ErrorContains(t, err, `prepare successor of "/p/x.crt"`, "the key's was prepared")
		assert.Empty(t, changed(before, picture(t, string(root))))
	})
}

func TestBackupOnAFullDiskIsNoBackup(t *testing.T) {
	root, stores, _ := smallDisk(t)
	fill(t, string(root), 2) // one for the directory's first file
	dir := filepath.Join(string(root), "backup")
	require.ErrorIs(t, store.Backup(root, stores["pair"], dir), unix.ENOSPC)
	assert.Error(t, store.Restore(root, stores["pair"], dir))
}

func TestSwapOnAReadOnlyFileSystem(t *testing.T) {
	root, stores, materials := smallDisk(t)
	before := picture(t, string(root))
	require.NoError(t, unix.Mount("", string(root), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for kind, s := range stores {
		require.ErrorIs(t, store.Swap(root, s, materials[kind]), unix.EROFS, kind)
	}
	assert.Empty(t, changed(before, picture(t, string(root))))
}

// TestSwapUndoesTheKeyWhenTheCertificateCannotFollow: the second rename of a pair
// fails, which a mount point in its way makes certain.
func TestSwapUndoesTheKeyWhenTheCertificateCannotFollow(t *testing.T) {
	root, stores, materials := smallDisk(t)
	crt := filepath.Join(string(root), stores["pair"].Cert)
	mount(t, crt, crt, "", unix.MS_BIND, "")
	before := picture(t, string(root))
	err := store.Swap(root, stores["pair"], materials["pair"])
	require.ErrorIs(t, err, unix.EBUSY)
	assert.NotContains(t, err.Error(), "could not be put back")
	assert.Empty(t, changed(before, picture(t, string(root))))
}

// TestRemainsOfAnInterruptedSwap leaves what a death at each point would leave, and
// goes on in both directions.
func TestRemainsOfAnInterruptedSwap(t *testing.T) {
	const staged = ".rotate-certs-new"
	dated := certstest.KubeletDir + "/kubelet-client-2026-02-02-02-02-02.pem"
	hidden := func(path string) string { return filepath.Dir(path) + "/." + filepath.Base(path) + staged }
	write := func(path string) func(*testing.T, *certstest.Tree) {
		return func(t *testing.T, tree *certstest.Tree) { tree.Write(t, path, []byte("half"), 0o600) }
	}
	link := func(path, text string) func(*testing.T, *certstest.Tree) {
		return func(t *testing.T, tree *certstest.Tree) { require.NoError(t, os.Symlink(text, tree.Local(path))) }
	}
	apiserver, current, admin := certstest.PKIDir+"/apiserver", certstest.KubeletDir+"/kubelet-client-current.pem", "/etc/kubernetes/admin.conf"
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
				before, dir := picture(t, string(tree.Root)), t.TempDir()
				require.NoError(t, store.Backup(tree.Root, tree.Stores[test.store], dir))
				for _, leave := range test.remains {
					leave(t, tree)
				}
				return tree, tree.Stores[test.store], before, dir
			}
			t.Run("back", func(t *testing.T) {
				tree, s, before, dir := arrange(t)
				require.NoError(t, store.Restore(tree.Root, s, dir))
				assert.Empty(t, changed(before, picture(t, string(tree.Root))))
			})
			t.Run("forth", func(t *testing.T) {
				tree, s, before, dir := arrange(t)
				m := successor(t, tree.CA, tree.Pairs[test.store])
				require.NoError(t, store.Swap(tree.Root, s, m))
				assert.ElementsMatch(t, touched(tree, s), files(changed(before, picture(t, string(tree.Root)))))
				c, err := store.Read(tree.Root, s)
				require.NoError(t, err)
				require.NoError(t, c.KeyErr)
				assert.Equal(t, m.Chain, c.Chain)
				require.NoError(t, store.Restore(tree.Root, s, dir))
				assert.Empty(t, changed(before, picture(t, string(tree.Root))))
			})
		})
	}
}

// TestCleaningUpTrustsNoStrangeLink: the place of a staged link can be prepared by
// whoever may write in the directory.
func TestCleaningUpTrustsNoStrangeLink(t *testing.T) {
	for _, text := range []string{"/etc/kubernetes/admin.conf", certstest.KubeletDir + "/kubelet.key", "/var/lib/kubelet/pki/kubelet-client-2026-01-02-03-04-05.pem"} {
		t.Run(text, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			s := tree.Stores["kubelet-client"]
			before := picture(t, string(tree.Root))
			require.NoError(t, os.Symlink(text, tree.Local(certstest.KubeletDir+"/.kubelet-client-current.pem.rotate-certs-new")))
			require.NoError(t, store.Swap(tree.Root, s, successor(t, tree.CA, tree.Pairs["kubelet-client"])))
			assert.ElementsMatch(t, touched(tree, s), files(changed(before, picture(t, string(tree.Root)))))
		})
	}
	t.Run("nothing is written through a link in a staged file's place", func(t *testing.T) {
		tree := certstest.Kubeadm(t, "cp1")
		victim := tree.Local("/etc/kubernetes/admin.conf")
		before, err := os.ReadFile(victim)
		require.NoError(t, err)
		require.NoError(t, os.Symlink(victim, tree.Local(certstest.PKIDir+"/.apiserver.key.rotate-certs-new")))
		require.NoError(t, store.Swap(tree.Root, tree.Stores["apiserver"], successor(t, tree.CA, tree.Pairs["apiserver"])))
		after, err := os.ReadFile(victim)
		require.NoError(t, err)
		assert.Equal(t, before, after)
	})
}
