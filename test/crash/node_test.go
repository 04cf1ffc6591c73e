package crash

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// newNode builds the root of a control-plane node that is down: certificates,
// manifests and units, and no process.
func newNode(t *testing.T) *certstest.Tree {
	t.Helper()
	tree := certstest.Kubeadm(t, "node-1")
	n := layouttest.NodeIn(t, tree.Root)
	// An API server that refuses every client gets no further request.
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	t.Cleanup(server.Close)
	ca := base64.StdEncoding.EncodeToString(certs.EncodePEM(server.Certificate()))
	original := base64.StdEncoding.EncodeToString(tree.CA.Pair().CertPEM())
	n.AddKubeadm(certstest.PKIDir)
	checkError(t, os.RemoveAll(n.LocalPath("/proc")))
	n.WriteFile("/proc/stat", "cpu 1 2 3\nbtime 1700000000\nprocesses 1\n")
	checkError(t, os.MkdirAll(n.LocalPath("/run/systemd/system"), 0o755))
	for _, pattern := range []string{"/*.conf", "/manifests/*.yaml"} {
		files, err := filepath.Glob(n.LocalPath(certstest.KubernetesDir + pattern))
		checkError(t, err)
		for _, path := range files {
			data, err := os.ReadFile(path)
			checkError(t, err)
			text := strings.NewReplacer("10.0.0.11:6443", server.Listener.Addr().String(), "10.0.0.11", "127.0.0.1", original, ca).Replace(string(data))
			checkError(t, os.WriteFile(path, []byte(text), 0o600))
		}
	}
	if os.Geteuid() == 0 {
		// Owners and modes that differ from those of a new file.
		checkError(t, os.Lchown(tree.Local(certstest.KubeletDir+"/kubelet.key"), 12, 34))
		checkError(t, os.Lchown(tree.Local(certstest.KubeletDir+"/kubelet-client-current.pem"), 56, 78))
		checkError(t, os.Lchown(tree.Local(tree.KubeletCurrent), 56, 78))
	}
	checkError(t, os.Chmod(tree.Local(certstest.KubeletDir+"/kubelet.key"), 0o640))
	return tree
}

// entry is a file as it must be found again.
type entry struct {
	mode     fs.FileMode
	uid, gid uint32
	content  string // hash, or where a link leads
}

// takeSnapshot returns everything below a root except the program's own state.
func takeSnapshot(t *testing.T, root string) map[string]entry {
	t.Helper()
	out := map[string]entry{}
	checkError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		host := strings.TrimPrefix(path, root)
		if host == statedir.HostPath {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		e := entry{mode: info.Mode(), uid: st.Uid, gid: st.Gid}
		switch {
		case d.IsDir():
		case info.Mode()&fs.ModeSymlink != 0:
			e.content, err = os.Readlink(path)
		default:
			var data []byte
			data, err = os.ReadFile(path)
			sum := sha256.Sum256(data)
			e.content = hex.EncodeToString(sum[:])
		}
		out[host] = e
		return err
	}))
	return out
}

// scene is a kind of commit whose every system call is a crash point.
type scene struct {
	name     string
	services string
	stores   func(tree *certstest.Tree) map[string]inventory.Store // the replaced files
}

var scenes = []scene{
	// A pair of files, a dated file behind a symlink, and kubeconfigs, in one commit.
	{"kubelet and admin", "kubelet,admin", func(tree *certstest.Tree) map[string]inventory.Store {
		return pickPoints(tree, "kubelet-server", "kubelet-client", "admin.conf", "super-admin.conf")
	}},
	{"etcd", "etcd", func(tree *certstest.Tree) map[string]inventory.Store {
		return pickPoints(tree, "etcd-server", "etcd-peer", "etcd-healthcheck-client")
	}},
}

func pickPoints(tree *certstest.Tree, names ...string) map[string]inventory.Store {
	out := map[string]inventory.Store{}
	for _, n := range names {
		out[n] = tree.Stores[n]
	}
	return out
}

// fixture is a scene's node with its possible final states.
type fixture struct {
	scene
	program  string
	template string
	before   map[string]entry
	stores   map[string]inventory.Store
	old      map[string]string // fingerprints by store
}

func newFixture(t *testing.T, s scene, program string) *fixture {
	t.Helper()
	tree := newNode(t)
	f := &fixture{scene: s, program: program, template: string(tree.Root), stores: s.stores(tree), old: map[string]string{}}
	f.before = takeSnapshot(t, f.template)
	for name := range f.stores {
		f.old[name] = certs.Fingerprint(tree.Pairs[name].Leaf())
	}
	return f
}

// copyTo makes a node like the scene's.
func (f *fixture) copyTo(root string) error {
	out, err := exec.Command("cp", "-a", f.template, root).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}

func (f *fixture) rotateArgs(root string) []string {
	return []string{f.program, "rotate", "--root", root, "--service", f.services, "--restart", "never"}
}

func (f *fixture) recoverArgs(root string) []string {
	return []string{f.program, "recover", "--boot", "--root", root}
}

// verifyNode checks a node after its recovery: all old or all new, as in the journal, and
// everything else unchanged. It returns the deviations.
func (f *fixture) verifyNode(t *testing.T, root string) (state inventory.RotationState, problems []string) {
	t.Helper()
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	history, _, err := statedir.ReadHistory(hostfs.Root(root))
	if err != nil {
		problem("the journal cannot be read: %v", err)
		return "", problems
	}
	if len(history) > 0 {
		state = history[0].State
	}
	isNew := state == inventory.Committed || state == inventory.Finished
	switch state {
	case inventory.Committing, inventory.Unknown:
		problem("the journal ends as %q after recovery", state)
	}
	replaced := map[string]bool{}
	for name, s := range f.stores {
		replaced[s.Cert] = true
		replaced[s.Key] = true
		content, err := store.ReadStore(hostfs.Root(root), s)
		switch {
		case err != nil:
			problem("%s: %v", name, err)
			continue
		case content.KeyErr != nil:
			problem("%s: %v", name, content.KeyErr)
		}
		if got := certs.Fingerprint(content.LeafCert()) != f.old[name]; got != isNew {
			problem("%s is new: %t, and the journal says %q", name, got, state)
		}
	}
	if kept, err := os.ReadDir(filepath.Join(root, statedir.HostPath, "bin")); err == nil && len(kept) > 0 {
		problem("the program %q was left on the node", kept[0].Name())
	}
	f.compareFiles(takeSnapshot(t, root), replaced, isNew, problem)
	return state, problems
}

// compareFiles compares every file with its state before.
func (f *fixture) compareFiles(after map[string]entry, replaced map[string]bool, isNew bool, problem func(string, ...any)) {
	dated := 0
	for path, was := range f.before {
		is, there := after[path]
		switch {
		case !there:
			problem("%s is missing", path)
		case is.mode != was.mode || is.uid != was.uid || is.gid != was.gid:
			problem("%s was %v %d:%d and is %v %d:%d", path, was.mode, was.uid, was.gid, is.mode, is.uid, is.gid)
		case is.content != was.content && (!isNew || !replaced[path]):
			problem("%s was changed", path)
		}
	}
	for path := range after {
		if _, was := f.before[path]; was {
			continue
		}
		switch base := filepath.Base(path); {
		case path == "/var/lib" || path == "/etc/systemd/system/multi-user.target.wants":
		case isNew && strings.HasPrefix(base, "kubelet-client-2") && dated == 0:
			dated++ // the new file behind the link
		default:
			problem("%s was left behind", path)
		}
	}
}

func checkError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
