package layout

import (
	"os"
	"slices"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestOnlyScriptsAreSearchedForPaths: a unit's script may name certificates; its program in the
// format of Linux may hold any path, as a default that it does not use.
func TestOnlyScriptsAreSearchedForPaths(t *testing.T) {
	const certificate = "/etc/proxy/tls.pem"
	for content, want := range map[string]bool{
		"#!/bin/sh\nexec proxy --cert " + certificate + "\n": true,
		"\x7fELF " + certificate + " ":                       false,
	} {
		node := layouttest.NewNode(t)
		node.WriteFile(certificate, "a certificate")
		node.WriteFile("/etc/systemd/system/proxy.service", "[Service]\nExecStart=/usr/local/bin/proxy\n")
		node.WriteFile("/usr/local/bin/proxy", content)
		if err := os.Chmod(node.LocalPath("/usr/local/bin/proxy"), 0o755); err != nil {
			t.Fatal(err)
		}
		node.AddProcess(700, layouttest.UnitCgroup("proxy.service"), "/usr/local/bin/proxy")
		found := DiscoverNode(node.Root, Options{})
		named := slices.ContainsFunc(found.OtherPrograms(node.Root), func(p OtherProgram) bool {
			return slices.Contains(p.Files, certificate)
		})
		if named != want {
			t.Errorf("with the program %q, the certificate is named: %v", content, named)
		}
	}
}
