package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

func TestDirectoriesAreTheRealOnes(t *testing.T) {
	root := t.TempDir()
	file := func(name string) {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(root, name), nil, 0o600))
	}
	link := func(to, name string) {
		require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
		require.NoError(t, os.Symlink(to, filepath.Join(root, name)))
	}
	file("pki/a.crt")
	file("keys/a.key")
	file("opt/kube/etcd/b.crt")
	file("opt/kube/etcd/b.key")
	link("/opt/kube", "etc/pki/kube")
	file("elsewhere/c.crt")
	link("../../elsewhere/c.crt", "opt/kube/c.crt")
	file("opt/kube/c.key")
	file("data/kubelet/kubelet-client-2026-01-01-00-00-00.pem")
	link("/data/kubelet/kubelet-client-2026-01-01-00-00-00.pem", "var/lib/kubelet/pki/kubelet-client-current.pem")
	file("etc/kubernetes/admin.conf")

	for name, tc := range map[string]struct {
		store inventory.Store
		want  []string
	}{
		"a pair in two directories": {inventory.Store{Kind: inventory.Pair, Cert: "/pki/a.crt", Key: "/keys/a.key"}, []string{"/keys", "/pki"}},
		"below a symlink":           {inventory.Store{Kind: inventory.Pair, Cert: "/etc/pki/kube/etcd/b.crt", Key: "/etc/pki/kube/etcd/b.key"}, []string{"/opt/kube/etcd"}},
		"a file that is a symlink":  {inventory.Store{Kind: inventory.Pair, Cert: "/etc/pki/kube/c.crt", Key: "/etc/pki/kube/c.key"}, []string{"/elsewhere", "/opt/kube"}},
		"a link that is turned": {inventory.Store{Kind: inventory.Combined, Cert: "/var/lib/kubelet/pki/kubelet-client-current.pem"},
			[]string{"/data/kubelet", "/var/lib/kubelet/pki"}},
		"a kubeconfig": {inventory.Store{Kind: inventory.Kubeconfig, Cert: "/etc/kubernetes/admin.conf"}, []string{"/etc/kubernetes"}},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, tc.want, store.DirectoriesOf(hostfs.Root(root), tc.store))
		})
	}
}
