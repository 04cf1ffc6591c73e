// Package architecture holds the rules of who may import whom, and the test
// that the source tree keeps them. To add a package at the top of pkg, add it to a tier below.
package architecture

import (
	"fmt"
	"slices"
	"strings"
)

// Module is the product's Go module.
const Module = "github.com/rotate-certs/rotate-certs"

// tier is a part of the product. A package imports from its own tier and from those
// before it, never from one that follows.
type tier struct {
	name string
	// rooms are packages, each with all below it.
	rooms []string
	// apart says that no room of the tier imports another one.
	apart bool
}

var tiers = []tier{
	{name: "what all share", rooms: []string{
		"deploy", "pkg/version", "pkg/logging", "pkg/exitcode", "pkg/hint", "pkg/wait", // objects of the API as text
		"pkg/certs", "pkg/settings", "pkg/inventory", "pkg/plan", "pkg/policy", // the domain, and pure decisions
		"pkg/nodeapi", "pkg/api", // what is said between a node and the outside, and in the Kubernetes API
		"pkg/printers", // what commands print, outside and on a node
	}},
	{name: "where it runs: on a node, or outside", rooms: []string{"pkg/node", "pkg/cluster"}, apart: true},
	{name: "pages that both front ends serve", rooms: []string{"pkg/dashboard"}},
	{name: "front ends", rooms: []string{"plugin", "watcher"}, apart: true},
	{name: "programs", rooms: []string{"cmd"}},
	{name: "tests", rooms: []string{"test"}},
}

// pure are the packages that decide and do no I/O: they import the standard
// library without the packages of doesIO, other pure packages, and nothing else.
var pure = []string{"pkg/certs", "pkg/inventory", "pkg/settings", "pkg/plan", "pkg/nodeapi", "pkg/policy/renewal", "pkg/cluster/gate", "pkg/exitcode", "pkg/hint"}

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
	{"k8s.io/client-go", []string{"pkg/cluster/kube", "pkg/node/agent", "pkg/node/nodecsr", "plugin", "watcher"}},
	{"k8s.io/cli-runtime", []string{"pkg/cluster/kube", "pkg/printers", "plugin", "cmd"}},
	{"sigs.k8s.io/controller-runtime", []string{"pkg/cluster/kube", "watcher"}},
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
		own, ok := placeOf(name)
		if !ok {
			found = append(found, fmt.Sprintf("%s has no place: add it to a tier in test/architecture/rules.go", name))
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
func refusal(name string, own place, imported string) string {
	if other, ours := local(imported); ours {
		theirs, _ := placeOf(other)
		switch {
		case theirs.tier > own.tier:
			return "imports point from a later tier to an earlier one"
		case theirs.tier == own.tier && tiers[own.tier].apart && theirs.room != own.room:
			return fmt.Sprintf("%s and %s import nothing of each other", own.room, theirs.room)
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

// forTests reports whether only tests may use a package: it lies in test/, or is
// named like net/http/httptest.
func forTests(name string) bool {
	return within(name, []string{"test"}) || strings.HasSuffix(name, "test")
}

// place is where a package belongs.
type place struct {
	tier int
	room string
}

func placeOf(name string) (place, bool) {
	if forTests(name) {
		return place{tier: len(tiers) - 1, room: "test"}, true
	}
	for i, t := range tiers {
		for _, room := range t.rooms {
			if within(name, []string{room}) {
				return place{tier: i, room: room}, true
			}
		}
	}
	return place{}, false
}

// within reports whether a path is one of those given, or below one.
func within(path string, of []string) bool {
	return slices.ContainsFunc(of, func(parent string) bool {
		return path == parent || strings.HasPrefix(path, parent+"/")
	})
}
