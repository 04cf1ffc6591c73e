package ssh

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenSSHReadsTheKeys has ssh-keygen derive the public key from the private one.
func TestOpenSSHReadsTheKeys(t *testing.T) {
	keygen, err := exec.LookPath("ssh-keygen")
	if err != nil {
		t.Skip("there is no ssh-keygen")
	}
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key.Private), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(keygen, "-y", "-f", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(out)); got != key.Public {
		t.Errorf("ssh-keygen derives %q, want %q", got, key.Public)
	}
}

func TestClientConfigNamesHostsAndFiles(t *testing.T) {
	hosts := []Host{{Name: "cp1", Address: "10.10.0.11", Key: Key{Public: "algorithm key"}}}
	config := ClientConfig("/lab/ssh", hosts)
	for _, want := range []string{"Host cp1\n  HostName 10.10.0.11\n", "IdentityFile /lab/ssh/id_ecdsa\n", "StrictHostKeyChecking yes\n"} {
		if !strings.Contains(config, want) {
			t.Errorf("no %q in\n%s", want, config)
		}
	}
	if got, want := KnownHosts(hosts), "cp1,10.10.0.11 algorithm key\n"; got != want {
		t.Errorf("known hosts are %q, want %q", got, want)
	}
}
