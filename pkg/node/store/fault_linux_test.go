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
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// mountFor mounts for the length of a test.
func mountFor(t *testing.T, source, target, kind string, flags uintptr, data string) {
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
	mountFor(t, "tmpfs", dir, "tmpfs", 0, "size=1m")
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
		materials[name] = newMaterial(t, ca, p)
	}
	return tree.Root, stores, materials
}

// fillDisk leaves that many pages of the file system free.
func fillDisk(t *testing.T, dir string, pages uint64) {
	t.Helper()
	var st unix.Statfs_t
	require.NoError(t, unix.Statfs(dir, &st))
	n := (st.Bavail - pages) * uint64(st.Bsize)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "filler"), make([]byte, n), 0o600))
	require.NoError(t, unix.Statfs(dir, &st))
	require.Equal(t, pages, st.Bavail)
}

func TestReplaceOnAFullDiskLeavesTheOldSet(t *testing.T) {
	for _, kind := range []string{"pair", "combined", "kubeconfig"} {
		t.Run(kind, func(t *testing.T) {
			root, stores, materials := smallDisk(t)
			fillDisk(t, string(root), 0)
			before := takePicture(t, string(root))
			err := store.ReplaceStore(root, stores[kind], materials[kind])
			require.ErrorIs(t, err, unix.ENOSPC)
			assert.Empty(t, changedPaths(before, takePicture(t, string(root))), "nothing new, nothing left over")

			require.NoError(t, os.Remove(filepath.Join(string(root), "filler")))
			assert.NoError(t, store.ReplaceStore(root, stores[kind], materials[kind]), "with room again")
		})
	}
	t.Run("pair, room for one of the two", func(t *testing.T) {
		root, stores, materials := smallDisk(t)
		fillDisk(t, string(root), 1)
		before := takePicture(t, string(root))
		err := store.ReplaceStore(root, stores["pair"], materials["pair"])
		require.ErrorIs(t, err, unix.ENOSPC)
		assert.ErrorContains(t, err, `prepare successor of "/p/x.crt"`, "the key's was prepared")
		assert.Empty(t, changedPaths(before, takePicture(t, string(root))))
	})
}

func TestBackupOnAFullDiskIsNoBackup(t *testing.T) {
	root, stores, _ := smallDisk(t)
	fillDisk(t, string(root), 2) // one for the directory's first file
	dir := filepath.Join(string(root), "backup")
	require.ErrorIs(t, store.BackUp(root, stores["pair"], dir), unix.ENOSPC)
	assert.Error(t, store.RestoreStore(root, stores["pair"], dir))
}

func TestReplaceOnAReadOnlyFileSystem(t *testing.T) {
	root, stores, materials := smallDisk(t)
	before := takePicture(t, string(root))
	require.NoError(t, unix.Mount("", string(root), "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	for kind, s := range stores {
		require.ErrorIs(t, store.ReplaceStore(root, s, materials[kind]), unix.EROFS, kind)
	}
	assert.Empty(t, changedPaths(before, takePicture(t, string(root))))
}

// TestReplaceUndoesTheKeyWhenTheCertificateCannotFollow: the second rename of a pair
// fails, which a mount point in its way makes certain.
func TestReplaceUndoesTheKeyWhenTheCertificateCannotFollow(t *testing.T) {
	root, stores, materials := smallDisk(t)
	crt := filepath.Join(string(root), stores["pair"].Cert)
	mountFor(t, crt, crt, "", unix.MS_BIND, "")
	before := takePicture(t, string(root))
	err := store.ReplaceStore(root, stores["pair"], materials["pair"])
	require.ErrorIs(t, err, unix.EBUSY)
	assert.NotContains(t, err.Error(), "could not be restored")
	assert.Empty(t, changedPaths(before, takePicture(t, string(root))))
}
