package store

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// TestOnlyTheGivenKeysAreDestroyed in a directory with others, certificates, and links that lead
// out of it.
func TestOnlyTheGivenKeysAreDestroyed(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	compromised := ca.Leaf(t)
	other := ca.Leaf(t)
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside.key")
	files := map[string][]byte{
		filepath.Join(dir, "etcd/server.key"): compromised.KeyPEM(t), filepath.Join(dir, "etcd/server.crt"): compromised.CertPEM(),
		filepath.Join(dir, "copy"): compromised.KeyPEM(t), filepath.Join(dir, "other.key"): other.KeyPEM(t), outside: compromised.KeyPEM(t),
	}
	for path, data := range files {
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link.key")); err != nil {
		t.Fatal(err)
	}
	open, err := os.Open(filepath.Join(dir, "copy")) // still shows the content of a removed file
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = open.Close() }()
	keys := map[string]bool{certs.PublicKeySHA256(compromised.Leaf().PublicKey): true}
	if err := DestroyKeys(dir, keys); err != nil {
		t.Fatal(err)
	}
	for path := range files {
		_, err := os.Stat(path)
		if base := filepath.Base(path); os.IsNotExist(err) != (base == "server.key" || base == "copy") {
			t.Errorf("%s: %v", path, err)
		}
	}
	content := make([]byte, 10)
	if n, err := open.Read(content); err != nil || string(content[:n]) != string(make([]byte, 10)) {
		t.Errorf("the removed key was not overwritten: %q, %v", content, err)
	}
}
