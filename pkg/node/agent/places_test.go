package agent

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/scan"
)

func TestPlacesOfAControlPlane(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	node := layouttest.NodeIn(t, tree.Root)
	node.AddKubeadm(certstest.PKIDir)
	got := watchedPlaces(tree.Root, scan.TakeInventory(t.Context(), tree.Root, scan.Options{}))
	assert.Equal(t, []string{
		"/etc/kubernetes", "/etc/kubernetes/manifests", "/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd",
		"/etc/systemd/system", "/usr/lib/systemd/system", "/usr/lib/systemd/system/kubelet.service.d",
		"/var/lib/kubelet", "/var/lib/kubelet/pki",
	}, got)
}

func TestPlacesOnTheWay(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/data/pki-2/tls.crt", "")
	n.LinkFile("/data/current", "pki-2")
	n.LinkFile("/etc/kubernetes/pki", "/data/current")
	n.LinkFile("/etc/loop", "/etc/loop")
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"links on the way":    {"/etc/kubernetes/pki/tls.crt", []string{"/etc/kubernetes", "/data", "/data/pki-2"}},
		"a missing file":      {"/data/pki-2/other.crt", []string{"/data/pki-2"}},
		"a missing directory": {"/data/pki-3/deep/tls.crt", []string{"/data"}},
		"nothing of it":       {"/opt/k8s/tls.crt", []string{"/"}},
		"below a file":        {"/data/pki-2/tls.crt/x", []string{"/data/pki-2"}},
		"out of the root":     {"/data/../../../data/pki-2/tls.crt", []string{"/data/pki-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			dirs, _ := onTheWay(n.Root, filepath.Clean(c.file))
			assert.Equal(t, c.want, dirs)
		})
	}
	dirs, _ := onTheWay(n.Root, "/etc/loop/x")
	assert.NotEmpty(t, dirs, "a loop ends")
}

func TestPlacesWithoutVolatileDirectories(t *testing.T) {
	n := layouttest.NewNode(t)
	assert.Empty(t, watchedPlaces(n.Root, inventory.Node{NotInspected: []inventory.NotInspected{
		{Path: "/proc/1/x"}, {Path: "/run/x"}, {Path: "/var/lib/kubelet/pods/a/volumes/x"}, {Path: ""}, {Path: "relative"}}}))
}
