package plugin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// reportOf is the report that an agent wrote an age ago.
func reportOf(node string, age time.Duration, certificates ...v1alpha1.ReportedCertificate) v1alpha1.NodeCertificateReport {
	return v1alpha1.NodeCertificateReport{
		ObjectMeta: metav1.ObjectMeta{Name: node}, Certificates: certificates,
		Summary: v1alpha1.ReportSummary{ObservedAt: noon.Add(-age).Format(time.RFC3339)},
	}
}

func reportedLeaf(s certs.Service, name string) v1alpha1.ReportedCertificate {
	return v1alpha1.ReportedCertificate{Service: s, Name: name, Path: "/etc/kubernetes/pki/" + name + ".crt",
		FingerprintSHA256: "6a1e2fdce21e", NotAfter: metav1.NewTime(noon.Add(300 * day))}
}

// reporting is a cluster of which two nodes have fresh reports, one an old one, one none.
func reporting() *fake {
	f := healthy()
	blocked := reportedLeaf(certs.Etcd, "etcd-server")
	blocked.NotRenewable = &v1alpha1.NotRenewable{Reason: "no CA key on this node"}
	hot := reportedLeaf(certs.Etcd, "etcd-healthcheck-client")
	hot.NotRenewable = &v1alpha1.NotRenewable{Reason: "its container cannot be restarted", MaxRestart: "IfNeeded"}
	f.reports = []v1alpha1.NodeCertificateReport{
		reportOf("cp1", time.Minute, reportedLeaf(certs.Etcd, "etcd-peer"), blocked, reportedLeaf(certs.KubeAPIServer, "apiserver")),
		reportOf("cp2", 20*time.Minute, reportedLeaf(certs.Etcd, "etcd-peer"), hot),
		reportOf("cp3", 4*time.Hour, reportedLeaf(certs.Etcd, "etcd-peer")),
	}
	return f
}

func TestClientDryRunPlansFromReportsAndCreatesNothing(t *testing.T) {
	f := reporting()
	code, stdout, stderr := f.run(t, "--service", "etcd", "--dry-run=client")
	require.Zero(t, code, stderr)
	golden(t, "plan-reports.txt", stdout)
	assert.Contains(t, stderr, "Nothing was created or changed.")
	_, wide, _ := f.run(t, "--service", "etcd", "--dry-run=client", "-o", "wide")
	assert.Contains(t, wide, "NODE   SERVICE   CERTIFICATE   EXPIRES                SHA256         PATH\n")
	assert.Empty(t, f.log, "neither a scan, nor a review of permissions, nor the lock")
}

// TestClientDryRunKnowsOtherNodesThatSign: only those of the control plane count.
func TestClientDryRunKnowsOtherNodesThatSign(t *testing.T) {
	for name, tt := range map[string]struct {
		on   string
		want int
	}{"a control-plane node": {"cp2", 0}, "a worker": {"w1", 1}} {
		t.Run(name, func(t *testing.T) {
			f := reporting()
			id := strings.Repeat("a", 64)
			f.reports[0].Certificates[1].NotRenewable.Authority = id
			signer := reportOf(tt.on, time.Minute)
			signer.Authorities = []v1alpha1.ReportedAuthority{{ID: id, HasKey: true}}
			f.reports = append([]v1alpha1.NodeCertificateReport{f.reports[0]}, signer)
			code, stdout, stderr := f.run(t, "--service", "etcd", "--node", "cp1", "--dry-run=client", "-o", "json")
			require.Zero(t, code, stderr)
			var document v1alpha1.RotationPlan
			require.NoError(t, json.Unmarshal([]byte(stdout), &document))
			assert.Len(t, document.LeftOut, tt.want)
		})
	}
}

func TestClientDryRunAsJSONSaysItIsFromReports(t *testing.T) {
	code, stdout, stderr := reporting().run(t, "--service", "etcd", "--dry-run=client", "--restart=if-needed", "-o", "json")
	require.Zero(t, code, stderr)
	var document v1alpha1.RotationPlan
	require.NoError(t, json.Unmarshal([]byte(stdout), &document))
	assert.True(t, document.FromReports)
	require.Len(t, document.Steps, 2)
	assert.True(t, document.Steps[0].ControlPlane)
	assert.Zero(t, document.Steps[0].Wave)
	assert.Len(t, document.Steps[1].Certificates, 2, "with if-needed the other one can be renewed, too")
	assert.Len(t, document.LeftOut, 1)
	assert.Len(t, document.NotInspected, 2, "the old report, and the node without one")
}

func TestClientDryRunWithoutFreshReportsNamesPlan(t *testing.T) {
	for name, change := range map[string]func(*fake){
		"none":         func(f *fake) { f.reports = nil },
		"all too old":  func(f *fake) { f.reports = f.reports[2:] },
		"not accepted": func(f *fake) { f.reports = []v1alpha1.NodeCertificateReport{notAccepted(f.reports[0])} },
	} {
		t.Run(name, func(t *testing.T) {
			f := reporting()
			change(f)
			code, stdout, stderr := f.run(t, "--service", "etcd", "--dry-run=client")
			assert.Equal(t, 1, code)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, "no node in scope has a fresh NodeCertificateReport\nhint: kubectl rotate-certs plan scans")
			assert.Empty(t, f.log)
		})
	}
}

func notAccepted(r v1alpha1.NodeCertificateReport) v1alpha1.NodeCertificateReport {
	r.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAccepted, Status: metav1.ConditionFalse}}
	return r
}

func TestClientDryRunOnlyReadsFromTheAPIServer(t *testing.T) {
	s := newAPIServer(t)
	var requests []string
	handler := s.Config.Handler
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.Lock()
		requests = append(requests, r.Method)
		s.Unlock()
		handler.ServeHTTP(w, r)
	})
	code, _, stderr := s.run(t, "--service", "kubelet", "--dry-run=client")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "no node in scope has a fresh NodeCertificateReport", "the kind is not installed")

	s.install(t, "")
	s.remove("/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1")
	s.add(t, "/apis/rotate-certs.io/v1alpha1/nodecertificatereports/w1", `{"summary":{"observedAt":"2026-11-24T11:59:00Z"},
		"certificates":[{"service":"kubelet","name":"kubelet-client","path":"/var/lib/kubelet/pki/kubelet-client-current.pem"}]}`)
	requests = nil
	code, stdout, stderr := s.run(t, "--service", "kubelet", "--dry-run=client")
	require.Zero(t, code, stderr)
	assert.Contains(t, stdout, "w1     kubelet-client\n")
	require.NotEmpty(t, requests)
	for _, method := range requests {
		assert.Equal(t, http.MethodGet, method)
	}
}
