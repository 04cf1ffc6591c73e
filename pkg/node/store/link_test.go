package store_test

import (
	"os"
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

// TestReplaceTurnsTheLink reads the kubelet's symlink as the kubelet does.
func TestReplaceTurnsTheLink(t *testing.T) {
	for _, test := range []struct {
		name     string
		old, new string // texts of the link
		via      string // a further link that leads to it
	}{
		{"absolute stays absolute", "/var/lib/kubelet/pki/kubelet-client-2026-01-02-03-04-05.pem", "/var/lib/kubelet/pki/" + newDated(), ""},
		{"relative stays relative", "kubelet-client-2026-01-02-03-04-05.pem", newDated(), ""},
		{"absolute, in another directory", "/data/pki/kubelet-client-2026-01-02-03-04-05.pem", "/data/pki/" + newDated(), ""},
		{"a link to the link stays", "kubelet-client-2026-01-02-03-04-05.pem", newDated(), "/etc/kubernetes/current.pem"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree := certstest.Kubeadm(t, "cp1")
			s := tree.Stores["kubelet-client"]
			link := tree.Local(s.Cert)
			require.NoError(t, os.Remove(link))
			require.NoError(t, os.Symlink(test.old, link))
			if strings.HasPrefix(test.old, "/data") {
				require.NoError(t, os.MkdirAll(tree.Local("/data/pki"), 0o755))
				require.NoError(t, os.Rename(tree.Local(tree.KubeletCurrent), tree.Local(test.old)))
				tree.KubeletCurrent = test.old
			}
			if test.via != "" {
				require.NoError(t, os.Symlink(s.Cert, tree.Local(test.via)))
				s.Cert = test.via
			}
			before := takePicture(t, string(tree.Root))
			dir := t.TempDir()
			require.NoError(t, store.BackUp(tree.Root, s, dir))
			m := newMaterial(t, tree.CA, tree.Pairs["kubelet-client"])
			require.NoError(t, store.ReplaceStore(tree.Root, s, m))
			text, err := os.Readlink(link)
			require.NoError(t, err)
			assert.Equal(t, test.new, text)
			assert.FileExists(t, tree.Local(tree.KubeletCurrent), "the old file stays, as the kubelet's do")
			require.NoError(t, store.RestoreStore(tree.Root, s, dir, certs.Fingerprint(m.Chain[0])))
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
		})
	}
	t.Run("never writes over another dated file", func(t *testing.T) {
		tree := certstest.Kubeadm(t, "cp1")
		taken := certstest.KubeletDir + "/" + newDated()
		tree.Write(t, taken, []byte("the kubelet's own of this second"), 0o600)
		s := tree.Stores["kubelet-client"]
		m := newMaterial(t, tree.CA, tree.Pairs["kubelet-client"])
		require.NoError(t, store.ReplaceStore(tree.Root, s, m))
		data, err := os.ReadFile(tree.Local(taken))
		require.NoError(t, err)
		assert.Equal(t, "the kubelet's own of this second", string(data))
		c, err := store.ReadStore(tree.Root, s)
		require.NoError(t, err)
		assert.Equal(t, m.Chain, c.Chain)
	})
	t.Run("a loop of links is refused", func(t *testing.T) {
		tree := certstest.Kubeadm(t, "cp1")
		require.NoError(t, os.Symlink("/t/b", tree.Local("/a")))
		require.NoError(t, os.MkdirAll(tree.Local("/t"), 0o755))
		require.NoError(t, os.Symlink("/a", tree.Local("/t/b")))
		err := store.ReplaceStore(tree.Root, inventory.Store{Kind: inventory.Combined, Cert: "/a"}, newMaterial(t, tree.CA, tree.Pairs["kubelet-client"]))
		assert.ErrorIs(t, err, unix.ELOOP)
	})
}
