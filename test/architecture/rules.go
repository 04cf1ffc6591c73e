// Package architecture holds the rules of who may import whom, and the test
// that the source tree keeps them. To add a package, add it to a ring below.
package architecture

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the product's Go module.
const Module = "github.com/rotate-certs/rotate-certs"

// rings are the product's packages from the inside out. A package imports from
// its own ring and from those before it, never from one that follows. A name
// stands for the package and all below it, unless these have a place themselves.
var rings = [][]string{
	{"deploy"},                        // objects of the API as text
	{"pkg/certs", "pkg/version"},      // the domain
	{"pkg/inventory", "pkg/settings"}, // what is there, and where components say so
	{"pkg/policy", "pkg/plan"},        // pure decisions
	{"pkg/hostfs", "pkg/api", "pkg/rotationpolicy", "pkg/logging"},           // files of a host, API types and what a policy of theirs means, logs
	{"pkg/layout", "pkg/store", "pkg/issue", "pkg/journal", "pkg/component"}, // reading and changing one node
	{"pkg/scan", "pkg/rotate"}, // the engine on a node
	{"pkg/fleet"},              // the engine over all nodes
	{"pkg/kube"},               // Kubernetes adapters
	{"pkg/prepare"},            // how every rotation begins
	{"watcher/bus", "watcher/agent", "watcher/metrics"}, // what the watcher is made of
	{"watcher/controller"},
	{"plugin", "watcher"}, // front ends
	{"cmd"},               // programs
	{"test"},              // whatever tests need
}

// pure are the packages that decide and do no I/O: they import the standard
// library without the packages of doesIO, other pure packages, and nothing else.
var pure = []string{"pkg/certs", "pkg/inventory", "pkg/settings", "pkg/policy", "pkg/plan"}

var doesIO = []string{"os", "os/exec", "os/signal", "net/http", "io/ioutil", "syscall", "log"}

// confined are third-party packages, with all below them, that only some of the
// product's packages may import.
var confined = []struct {
	what string
	to   []string
}{
	{"github.com/spf13/cobra", []string{"plugin", "cmd"}},
	{"github.com/nats-io", []string{"watcher/bus"}},
	{"github.com/cloudevents", []string{"watcher/bus"}},
	{"github.com/prometheus/client_golang", []string{"watcher"}},
	{"k8s.io/client-go", []string{"pkg/kube", "plugin", "watcher"}},
	{"k8s.io/cli-runtime", []string{"pkg/kube", "plugin", "cmd"}},
	{"sigs.k8s.io/controller-runtime", []string{"pkg/kube", "watcher"}},
}

// Package is a package and what it imports.
type Package struct {
	ImportPath string
	Imports    []string
}

// Violations lists what breaks a rule, one line each.
func Violations(packages []Package) []string {
	var found []string
	for _, p := range packages {
		name, ours := local(p.ImportPath)
		if !ours || forTests(name) {
			continue
		}
		own := ring(name)
		if own < 0 {
			found = append(found, fmt.Sprintf("%s has no place: add it to a ring in test/architecture/rules.go", name))
			continue
		}
		for _, imported := range p.Imports {
			if why := refusal(name, own, imported); why != "" {
				found = append(found, fmt.Sprintf("%s imports %s: %s", name, strings.TrimPrefix(imported, Module+"/"), why))
			}
		}
	}
	return found
}

// refusal says why a package may not import another, or nothing.
func refusal(name string, own int, imported string) string {
	if other, ours := local(imported); ours {
		switch {
		case ring(other) > own:
			return "imports point from the outside in"
		case within(name, pure) && !within(other, pure):
			return "it decides and does no I/O"
		}
		return ""
	}
	if within(name, pure) && (slices.Contains(doesIO, imported) || strings.Contains(strings.Split(imported, "/")[0], ".")) {
		return "it decides and does no I/O"
	}
	for _, rule := range confined {
		if within(imported, []string{rule.what}) && !within(name, rule.to) {
			return "only " + strings.Join(rule.to, ", ") + " may"
		}
	}
	return ""
}

// local is a package's path inside the module.
func local(importPath string) (string, bool) {
	return strings.CutPrefix(importPath, Module+"/")
}

// forTests tells whether only tests may use a package: it lies in test/, or is
// named like net/http/httptest.
func forTests(name string) bool {
	return within(name, []string{"test"}) || strings.HasSuffix(name, "test")
}

// ring is where a package belongs; the longest name that covers it counts.
func ring(name string) int {
	if forTests(name) {
		return len(rings) - 1
	}
	place, length := -1, 0
	for i, members := range rings {
		for _, member := range members {
			if within(name, []string{member}) && len(member) > length {
				place, length = i, len(member)
			}
		}
	}
	return place
}

// within tells whether a path is one of those given, or below one.
func within(path string, of []string) bool {
	return slices.ContainsFunc(of, func(parent string) bool {
		return path == parent || strings.HasPrefix(path, parent+"/")
	})
}
