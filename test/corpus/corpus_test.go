// Package corpus puts certificates that others collected, because they are odd, where
// a node's own should be. It is a module of its own so that the product's go.mod has
// none of them.
package corpus

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/zmap/zlint/v3/lint" // keeps the module, with its testdata, in go.mod

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/scan"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// least is how many certificates zlint has at the least: an empty corpus verifies nothing.
const least = 1000

// certificates returns zlint's test certificates: text with a PEM block at its end.
func certificates(t *testing.T) map[string][]byte {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/zmap/zlint/v3").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "testdata", "*.pem"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]byte{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		found[filepath.Base(file)] = data
	}
	if len(found) < least {
		t.Fatalf("%d certificates, want %d", len(found), least)
	}
	return found
}

// leastVectors is how many files pyca/cryptography's vectors have for X.509 at the least;
// NIST's PKITS has 405 of them.
const leastVectors = 500

// vectors returns the X.509 vectors of pyca/cryptography: NIST's PKITS, and what their
// authors found malformed. They are a Debian package, so elsewhere, or without root, the
// test that wants them does not run.
func vectors(t *testing.T) map[string][]byte {
	t.Helper()
	const dir = "/usr/lib/python3/dist-packages/cryptography_vectors/x509"
	said, err := exec.CommandContext(t.Context(), "../tools/need", "python3-cryptography-vectors").CombinedOutput()
	if err != nil {
		t.Skipf("########## PKITS AND THE MALFORMED CERTIFICATES DID NOT RUN: root on Debian can have them installed: %v: %s", err, said)
	}
	found, pkits := map[string][]byte{}, 0
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".crt", ".pem", ".der"}, filepath.Ext(file)) {
			return err
		}
		name, err := filepath.Rel(dir, file)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "PKITS_data/certs/") {
			pkits++
		}
		found[name], err = os.ReadFile(file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) < leastVectors || pkits < 400 {
		t.Fatalf("%d files, %d of PKITS, want %d and 400", len(found), pkits, leastVectors)
	}
	t.Logf("%d files, %d of PKITS", len(found), pkits)
	return found
}

// TestNoOddCertificateIsOK has each in the place of four of a node's certificates and
// of a CA. Whatever is wrong with it, it is not for the key beside it: no panic, no
// hang, and never OK. What can be scanned can be planned with, or refused.
func TestNoOddCertificateIsOK(t *testing.T) { noneIsOK(t, certificates(t)) }

// TestNoVectorIsOK does the same with NIST's PKITS and malformed certificates.
func TestNoVectorIsOK(t *testing.T) { noneIsOK(t, vectors(t)) }

func noneIsOK(t *testing.T, corpus map[string][]byte) {
	t.Helper()
	tree := certstest.Kubeadm(t, "cp1")
	layouttest.NodeIn(t, tree.Root).AddKubeadm(certstest.PKIDir)
	scheduler := read(t, tree, "/etc/kubernetes/scheduler.conf")
	fine := embedded(t, scheduler)
	for name, odd := range corpus {
		tree.Write(t, certstest.PKIDir+"/apiserver.crt", odd, 0o644)
		tree.Write(t, certstest.PKIDir+"/etcd/peer.crt", der(odd), 0o644)
		tree.Write(t, certstest.PKIDir+"/front-proxy-ca.crt", odd, 0o644)
		tree.Write(t, "/var/lib/kubelet/pki/kubelet.crt", odd, 0o644)
		tree.Write(t, "/etc/kubernetes/scheduler.conf",
			[]byte(strings.Replace(scheduler, fine, base64.StdEncoding.EncodeToString(odd), 1)), 0o600)
		began := time.Now()
		got := scan.TakeInventory(t.Context(), tree.Root, scan.Options{
			NodeName: "cp1", Now: func() time.Time { return certstest.Now },
			Handshake: func(context.Context, string, string) (*x509.Certificate, error) { return nil, errors.New("refused") },
		})
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: a scan took %s", name, took)
		}
		judged := 0
		for _, c := range got.Certificates {
			switch c.Name {
			case "apiserver", "etcd-peer", "kubelet-server", "scheduler.conf":
				judged++
				if c.Status == certs.OK || c.Status == certs.Expiring {
					t.Errorf("%s as %s: %s", name, c.Name, c.Status)
				}
			}
		}
		if judged != 4 {
			t.Errorf("%s: %d of 4 places are listed", name, judged)
		}
		_, _ = plan.BuildPlan([]inventory.Node{got}, plan.Request{Services: certs.Services(), Restart: plan.RestartAlways}, nil)
	}
}

func read(t *testing.T, tree *certstest.Tree, path string) string {
	t.Helper()
	data, err := os.ReadFile(tree.Local(path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// embedded is the certificate in a kubeconfig, as it stands there.
func embedded(t *testing.T, kubeconfig string) string {
	t.Helper()
	_, after, found := strings.Cut(kubeconfig, "client-certificate-data: ")
	if !found {
		t.Fatal("the kubeconfig has no certificate")
	}
	value, _, _ := strings.Cut(after, "\n")
	return value
}

// der is the certificate without its PEM, which some would put there.
func der(text []byte) []byte {
	if block, _ := pem.Decode(text); block != nil {
		return block.Bytes
	}
	return text
}
