package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

func TestABackupHoldsTheReplacedPair(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	for name, s := range tree.Stores {
		dir := t.TempDir()
		old, err := store.ReadStore(tree.Root, s)
		require.NoError(t, err)
		require.NoError(t, store.BackUp(tree.Root, s, dir))
		require.NoError(t, store.ReplaceStore(tree.Root, s, newMaterial(t, tree.CA, tree.Pairs["apiserver"])), name)
		got, err := store.ReadBackup(dir, s)
		require.NoError(t, err, name)
		assert.True(t, got.Chain[0].Equal(old.LeafCert()), name)
		assert.True(t, got.Key.FitsCert(old.LeafCert()), name)

		require.NoError(t, store.ReplaceStore(tree.Root, s, got), name)
		now, err := store.ReadStore(tree.Root, s)
		require.NoError(t, err)
		assert.NoError(t, now.KeyErr, name)
		assert.True(t, now.LeafCert().Equal(old.LeafCert()), name)
	}
}

func TestAnIncompleteBackupHoldsNoPair(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	s := tree.Stores["apiserver"]
	dir := t.TempDir()
	_, err := store.ReadBackup(dir, s)
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, store.BackUp(tree.Root, s, dir))
	_, err = store.ReadBackup(dir, tree.Stores["etcd-peer"])
	require.ErrorContains(t, err, "is the backup of another store")

	require.NoError(t, os.Truncate(filepath.Join(dir, "0.saved"), 5))
	_, err = store.ReadBackup(dir, s)
	require.ErrorContains(t, err, "is damaged")
}
