package scan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// TestAnythingElseThanAFileIsAFinding puts directories, FIFOs and links in the place of each kind of
// store's file: each is a finding, in bounded time, and never OK. The target of a link outside
// of the node's tree is not read.
func TestAnythingElseThanAFileIsAFinding(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside.crt")
	stores := map[string]string{
		"apiserver": certstest.PKIDir + "/apiserver.crt", "etcd-peer": certstest.PKIDir + "/etcd/peer.key",
		"scheduler.conf": "/etc/kubernetes/scheduler.conf", "kubelet-client": "/var/lib/kubelet/pki/kubelet-client-current.pem",
	}
	for name, put := range map[string]struct {
		there func(path string) error
		says  string
	}{
		"FIFO":      {func(p string) error { return unix.Mkfifo(p, 0o600) }, "not a regular file"},
		"directory": {func(p string) error { return os.Mkdir(p, 0o700) }, "not a regular file"},
		"huge file": {func(p string) error {
			if err := os.WriteFile(p, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(p, hostfs.MaxFile+1)
		}, "larger than"},
		"link out of the tree":       {func(p string) error { return os.Symlink(outside, p) }, "no such file"},
		"link upwards out of it":     {func(p string) error { return os.Symlink(strings.Repeat("../", 40)+outside, p) }, "no such file"},
		"link to itself":             {func(p string) error { return os.Symlink(filepath.Base(p), p) }, "too many levels of symbolic links"},
		"link to a device":           {func(p string) error { return os.Symlink("/dev/zero", p) }, "no such file"},
		"empty file":                 {func(p string) error { return os.WriteFile(p, nil, 0o600) }, ""},
		"zeros":                      {func(p string) error { return os.WriteFile(p, make([]byte, 1<<20), 0o600) }, ""},
		"a certificate's first half": {func(p string) error { return os.WriteFile(p, []byte("-----BEGIN CERTIFICATE-----\nMIIB"), 0o600) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for cert, path := range stores {
				n := kubeadmNode(t)
				good := n.Pairs["apiserver"].CertPEM()
				if err := os.WriteFile(outside, good, 0o600); err != nil {
					t.Fatal(err)
				}
				removeFile(t, n, path)
				if err := put.there(n.Tree.Local(path)); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				got := n.scanAt(t, certstest.Now)
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("%s: the scan took %s", path, took)
				}
				for _, c := range got.Certificates {
					if c.Name != cert {
						continue
					}
					if c.Status == certs.OK || !strings.Contains(c.Reason, put.says) {
						t.Errorf("%s: %s %q, want a finding that says %q", path, c.Status, c.Reason, put.says)
					}
				}
				listed := false
				for _, c := range got.Certificates {
					listed = listed || c.Name == cert
				}
				for _, x := range got.NotInspected {
					listed = listed || x.Path == path
				}
				if !listed {
					t.Errorf("%s is not reported at all: %+v", path, got.NotInspected)
				}
			}
		})
	}
}
