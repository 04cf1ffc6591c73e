package architecture

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

func TestTheSourceTreeKeepsTheRules(t *testing.T) {
	noteSources(t)
	packages := listPackages(t)
	if !slices.ContainsFunc(packages, func(p Package) bool { return p.ImportPath == Module+"/pkg/certs" }) {
		t.Fatal("go list does not show pkg/certs: the rules were not checked")
	}
	for _, violation := range Violations(packages) {
		t.Error(violation)
	}
}

func TestRules(t *testing.T) {
	for _, test := range []struct {
		name, from, imports, want string
	}{
		{"inwards", Module + "/pkg/node/rotate", Module + "/pkg/certs", ""},
		{"within a tier", Module + "/pkg/node/rotate", Module + "/pkg/node/store", ""},
		{"outwards", Module + "/pkg/certs", Module + "/pkg/node/rotate", "pkg/certs imports pkg/node/rotate: imports point from a later tier to an earlier one"},
		{"a node's side and the outside", Module + "/pkg/cluster/kube", Module + "/pkg/node/statedir", "pkg/cluster/kube imports pkg/node/statedir: pkg/cluster and pkg/node import nothing of each other"},
		{"a front end uses the other", Module + "/plugin", Module + "/watcher/bus", "plugin imports watcher/bus: plugin and watcher import nothing of each other"},
		{"a program uses a front end", Module + "/cmd/x", Module + "/plugin", ""},
		{"nothing uses tests", Module + "/plugin", Module + "/test/x", "plugin imports test/x: imports point from a later tier to an earlier one"},
		{"nothing uses a package for tests", Module + "/pkg/node/scan", Module + "/pkg/certs/certstest", "pkg/node/scan imports pkg/certs/certstest: imports point from a later tier to an earlier one"},
		{"a package for tests uses anything", Module + "/pkg/certs/certstest", "os", ""},
		{"tests use anything", Module + "/test/x", "github.com/nats-io/nats.go", ""},
		{"the domain parses", Module + "/pkg/certs", "crypto/x509", ""},
		{"the domain reads no file", Module + "/pkg/certs", "os", "pkg/certs imports os: it decides and does no I/O"},
		{"a plan knows no library", Module + "/pkg/plan", "go.uber.org/zap", "pkg/plan imports go.uber.org/zap: it decides and does no I/O"},
		{"cobra in the plugin", Module + "/plugin", "github.com/spf13/cobra", ""},
		{"cobra in the engine", Module + "/pkg/node/rotate", "github.com/spf13/cobra", "pkg/node/rotate imports github.com/spf13/cobra: only plugin, cmd may"},
		{"NATS in the bus", Module + "/watcher/bus", "github.com/nats-io/nats.go/jetstream", ""},
		{"NATS in the watcher", Module + "/watcher", "github.com/nats-io/nats.go", "watcher imports github.com/nats-io/nats.go: only watcher/bus may"},
		{"clients in the adapters", Module + "/pkg/cluster/kube/pods", "k8s.io/client-go/kubernetes", ""},
		{"clients over all nodes", Module + "/pkg/cluster/fleet", "k8s.io/client-go/rest", "pkg/cluster/fleet imports k8s.io/client-go/rest: only pkg/cluster/kube, pkg/node/agent, pkg/node/nodecsr, plugin, watcher may"},
		{"a package without a place", Module + "/pkg/helpers", "fmt", "pkg/helpers has no place: add it to a tier in test/architecture/rules.go"},
		{"foreign packages are free", "example.org/x", "os", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Violations([]Package{{ImportPath: test.from, Imports: []string{test.imports}}})
			var want []string
			if test.want != "" {
				want = []string{test.want}
			}
			if !slices.Equal(got, want) {
				t.Errorf("violations = %q, want %q", got, want)
			}
		})
	}
}

// listPackages is every package of the product and all that they depend on, as
// they are built for a node.
func listPackages(t *testing.T) []Package {
	t.Helper()
	command := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports", "./...")
	command.Dir = "../.."
	command.Env = append(os.Environ(), "GOOS=linux")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("list packages: %v\n%s", err, stderr.String())
	}
	var packages []Package
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p Package
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return packages
		}
		if err != nil {
			t.Fatalf("parse package list: %v", err)
		}
		packages = append(packages, p)
	}
}

// noteSources reads the state of every source file, so that go test knows that the result
// depends on them and does not repeat an old one.
func noteSources(t *testing.T) {
	t.Helper()
	for _, directory := range []string{"cmd", "pkg", "plugin", "watcher"} {
		err := filepath.WalkDir("../../"+directory, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			_, err = os.Stat(path)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
}
