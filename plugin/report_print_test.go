package plugin

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func reference(f certs.Facts) v1alpha1.CertificateRef {
	return v1alpha1.CertificateRef{SerialNumber: f.SerialNumber, FingerprintSHA256: f.FingerprintSHA256, NotAfter: f.NotAfter}
}

// stoppedReport is a rotation that stopped at its second node.
func stoppedReport() *v1alpha1.RotationReport {
	fresh := reference(facts("new", "etcd-ca", 365*day))
	return &v1alpha1.RotationReport{
		ID: "7f3c2a", Result: v1alpha1.RolledBack, StartTime: noon, EndTime: noon,
		Items: []v1alpha1.RotationItem{
			{Node: "cp1", Service: certs.Etcd, Result: v1alpha1.Succeeded, Restarted: true, UnavailableSeconds: 3.24,
				Evidence: []string{"Handshake: 10.0.0.1:2379 serves 3f9a", "Handshake: 10.0.0.1:2380 serves 77aa", "Health: etcd is healthy"},
				Certificates: []v1alpha1.RotatedCertificate{
					{Name: "etcd-server", Path: "/etc/kubernetes/pki/etcd/server.crt", Old: reference(facts("old", "etcd-ca", 7*day)), New: &fresh, Evidence: []string{"Handshake: 10.0.0.1:2379 serves 3f9a"}},
					{Name: "etcd-peer", Path: "/etc/kubernetes/pki/etcd/peer.crt", Old: reference(facts("old", "etcd-ca", 8*day)), New: &fresh},
				}},
			{Node: "cp1", Service: certs.KubeProxy, Result: v1alpha1.NoCertificate, Reason: "it has a ServiceAccount token"},
			{Node: "cp2", Service: certs.Etcd, Result: v1alpha1.RolledBack, Reason: "etcd did not become healthy", Restarted: true,
				Certificates: []v1alpha1.RotatedCertificate{{Name: "etcd-server", Path: "/etc/kubernetes/pki/etcd/server.crt", Old: reference(facts("old", "etcd-ca", 9*day))}}},
			{Node: "cp3", Service: certs.Etcd, Result: v1alpha1.Skipped, Reason: "not reached",
				Certificates: []v1alpha1.RotatedCertificate{{Name: "etcd-server", Path: "/etc/kubernetes/pki/etcd/server.crt", Old: reference(facts("old", "etcd-ca", 9*day))}}},
		},
		Collateral:   []v1alpha1.Collateral{{Node: "cp1", Service: certs.KubeScheduler, Reason: "restarted while we worked on the node."}},
		Notes:        []string{"a note\x1b[2J of the engine"},
		NotInspected: []v1alpha1.NotInspected{{Node: "w7", Reason: "NotReady"}},
	}
}

func TestReportShowsOldAndNewAndHowItWasVerified(t *testing.T) {
	for f, file := range map[printers.Format]string{printers.Table: "report.txt", printers.Wide: "report-wide.txt", printers.Name: "report-name.txt"} {
		var out bytes.Buffer
		require.NoError(t, printers.PrintReport(&out, f, stoppedReport()))
		golden(t, file, out.String())
		assert.NotContains(t, out.String(), "\x1b")
	}
}

func TestExpiredOldCertificatesAreNotReportedAsValid(t *testing.T) {
	r := stoppedReport()
	assert.Equal(t, "Copies of the old certificates remain valid, the last one until 2026-12-02: Kubernetes cannot revoke them.", printers.StillValid(r, noon),
		"those that were not renewed do not count")
	assert.Empty(t, printers.StillValid(r, noon.Add(8*day)))
	assert.Empty(t, printers.StillValid(&v1alpha1.RotationReport{}, noon))
}
