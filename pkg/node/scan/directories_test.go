package scan

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// A node pod mounts these directories, and a mount below a symlink would lie elsewhere.
func TestScanNamesRealDirectories(t *testing.T) {
	n := kubeadmNode(t)
	pki := filepath.Join(string(n.Tree.Root), certstest.PKIDir)
	moved := filepath.Join(string(n.Tree.Root), "opt/kube")
	require.NoError(t, os.MkdirAll(filepath.Dir(moved), 0o755))
	require.NoError(t, os.Rename(pki, moved))
	require.NoError(t, os.Symlink("/opt/kube", pki))
	found := n.scanAt(t, time.Now())
	assert.Equal(t, []string{"/opt/kube/etcd"}, certificateNamed(t, found, "etcd-server").Store.Directories)
	assert.Equal(t, []string{"/opt/kube"}, certificateNamed(t, found, "apiserver").Store.Directories)
	assert.Equal(t, []string{"/etc/kubernetes"}, certificateNamed(t, found, "admin.conf").Store.Directories)
}
