package scan

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// Copies of admin.conf are found in homes, read-only and within bounds: no symlink is followed,
// no FIFO blocks, no huge file is read.
func TestCopiesInHomesAreFound(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	layouttest.NodeIn(t, tree.Root).AddKubeadm(certstest.PKIDir)
	admin, err := os.ReadFile(tree.Local("/etc/kubernetes/admin.conf"))
	if err != nil {
		t.Fatal(err)
	}
	tree.Write(t, "/root/.kube/config", admin, 0o600)
	tree.Write(t, "/home/jane/.kube/config", admin, 0o600)
	tree.Write(t, "/home/jane/.kube/notes", []byte("client-certificate-data: bm90aGluZw=="), 0o600)
	tree.Write(t, "/home/joe/.kube/other", append(bytes.Repeat([]byte("#"), 64<<20), admin...), 0o600)
	if err := os.Symlink("/etc/kubernetes/admin.conf", tree.Local("/home/joe/.kube/config")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(tree.Local("/home/fifo/.kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(tree.Local("/home/fifo/.kube/config"), 0o600); err != nil {
		t.Fatal(err)
	}
	outside := t.TempDir()
	if err := os.Mkdir(filepath.Join(outside, ".kube"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, ".kube", "config"), admin, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, tree.Local("/home/out")); err != nil {
		t.Fatal(err)
	}

	node := TakeInventory(t.Context(), tree.Root, Options{NodeName: "cp1", Homes: true})
	var found []string
	for _, c := range node.Copies {
		found = append(found, c.Path)
		if !slices.ContainsFunc(node.Certificates, func(k inventory.Certificate) bool {
			return k.Name == "admin.conf" && k.FingerprintSHA256 == c.FingerprintSHA256
		}) {
			t.Errorf("%s is not known as a copy of admin.conf", c.Path)
		}
	}
	if !slices.Equal(found, []string{"/root/.kube/config", "/home/jane/.kube/config"}) {
		t.Errorf("found %q", found)
	}
	if node := TakeInventory(t.Context(), tree.Root, Options{NodeName: "cp1"}); len(node.Copies) > 0 {
		t.Errorf("home directories are scanned without being requested: %+v", node.Copies)
	}
}
