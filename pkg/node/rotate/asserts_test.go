package rotate

import (
	"bytes"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
)

// takeSnapshot is every file of the node outside the state directory: content and mode.
func (n *fakeNode) takeSnapshot() map[string]string {
	n.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(string(n.tree.Root), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		host := n.tree.Root.HostPath(path)
		if host == statedir.HostPath {
			return filepath.SkipDir
		}
		info, err := e.Info()
		if err != nil || e.IsDir() {
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			out[host], err = os.Readlink(path)
			return err
		}
		data, err := os.ReadFile(path)
		out[host] = info.Mode().String() + string(data)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// sameAs fails the test where files differ from a snapshot.
func (n *fakeNode) sameAs(before map[string]string) {
	n.t.Helper()
	after := n.takeSnapshot()
	for path, was := range before {
		if after[path] != was {
			n.t.Errorf("%s is not as it was before", path)
		}
	}
	for path := range after {
		if _, there := before[path]; !there {
			n.t.Errorf("%s was left behind", path)
		}
	}
}

// allOld and allNew check the certificates that components have loaded and those on disk.
func (n *fakeNode) isAll(isNew bool, services ...certs.Service) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(services) == 0 {
		services = certs.Services()
	}
	for name, s := range owners {
		if !strings.Contains(joinServices(services), string(s)+",") {
			continue
		}
		if got := certs.Fingerprint(n.onDisk(name)) != n.original[name]; got != isNew {
			n.t.Errorf("%s on disk: new = %v, want %v", name, got, isNew)
		}
		f := n.all[s]
		if f == nil {
			continue
		}
		if !f.running {
			n.t.Errorf("%s does not run", s)
		}
		if got := certs.Fingerprint(f.loaded[name]) != n.original[name]; got != isNew {
			n.t.Errorf("%s loaded by %s: new = %v, want %v", name, s, got, isNew)
		}
	}
}

func joinServices(services []certs.Service) string {
	out := ""
	for _, s := range services {
		out += string(s) + ","
	}
	return out
}

// noSecrets fails the test where a private key shows in the journal, the inbox or a
// transaction.
func (n *fakeNode) noSecrets() {
	n.t.Helper()
	state := filepath.Join(string(n.tree.Root), statedir.HostPath)
	err := filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if base := filepath.Base(path); base == "key.pem" || strings.HasSuffix(base, ".saved") || strings.HasPrefix(base, "pending-") {
			return nil
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("PRIVATE KEY")) {
			n.t.Errorf("%s holds a private key", path)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *fakeNode) stagedIsEmpty() {
	n.t.Helper()
	entries, err := os.ReadDir(n.fileState("staged"))
	if err != nil || len(entries) > 0 {
		n.t.Errorf("staged keys were left behind: %v, %v", entries, err)
	}
}

func (n *fakeNode) backupIsPrivate() {
	n.t.Helper()
	for _, path := range []string{"", "backup", "backup/2", "backup/2/0"} {
		info, err := os.Stat(n.fileState(path))
		if err != nil || info.Mode().Perm() != 0o700 {
			n.t.Errorf("%s: mode %v, %v; want 0700", path, info, err)
		}
	}
}

func pemBytes(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM block")
	}
	return block.Bytes
}

func (n *fakeNode) fileState(path string) string {
	return filepath.Join(string(n.tree.Root), statedir.HostPath, "rotations", rotationID, path)
}
