package lab

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/node"
)

func TestCertificateFilesAreThoseOfTheNodeItself(t *testing.T) {
	n := node.Node{Name: "cp1", Dir: t.TempDir()}
	const pem, conf = "-----BEGIN CERTIFICATE-----\n", "users:\n- user: {client-certificate-data: eA==}\n"
	for path, text := range map[string]string{
		"upper/etc/kubernetes/pki/apiserver.crt":         pem,
		"upper/etc/kubernetes/admin.conf":                conf,
		"upper/etc/hosts":                                "127.0.0.1 localhost\n",
		"upper/var/lib/rotate-certs/backups/apiserver":   pem,
		"upper/var/log/pem":                              pem,
		"kubelet/pki/kubelet-client-2026-01-02.pem":      pem,
		"kubelet/pods/1/volumes/secret/ca.crt":           pem,
		"containerd/io.containerd.content.v1/blobs/cert": pem,
	} {
		path = filepath.Join(n.Dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("kubelet-client-2026-01-02.pem", filepath.Join(n.KubeletRoot(), "pki/kubelet-client-current.pem")); err != nil {
		t.Fatal(err)
	}

	got, err := certificateFiles(n)

	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		filepath.Join(n.Dir, "upper/etc/kubernetes/admin.conf"),
		filepath.Join(n.Dir, "upper/etc/kubernetes/pki/apiserver.crt"),
		filepath.Join(n.Dir, "kubelet/pki/kubelet-client-2026-01-02.pem"),
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
