package plugin

import (
	"strings"
	"testing"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// TestCertificateInMemoryIsNotDrift: a rotation, with a restart, does renew it.
func TestCertificateInMemoryIsNotDrift(t *testing.T) {
	var b strings.Builder
	err := printers.PrintCertificates(&b, printers.Table, v1alpha1.CertificateList{Findings: []v1alpha1.Finding{
		{Node: "cp1", Kind: string(inventory.Memory), Path: "127.0.0.1:6443", Message: "apiserver-loopback-client expires soon"},
		{Node: "cp1", Kind: string(inventory.FileMode), Path: "/etc/kubernetes/pki/ca.key", Message: "mode 0644"},
	}}, certstest.Now)
	if err != nil {
		t.Fatal(err)
	}
	memory, drift, ok := strings.Cut(b.String(), "Drift, which no rotation changes")
	if !ok || !strings.Contains(memory, "in memory") || !strings.Contains(memory, "127.0.0.1:6443: apiserver-loopback-client") ||
		strings.Contains(drift, "127.0.0.1:6443") || !strings.Contains(drift, "ca.key: mode 0644") {
		t.Error(b.String())
	}
}
