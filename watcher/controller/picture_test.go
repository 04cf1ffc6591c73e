package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// TestStandbyKeepsRecentRenewals and no more: it sees everything for months, and
// then is the leader.
func TestStandbyKeepsRecentRenewals(t *testing.T) {
	p := NewPicture()
	p.UpdateNode("cp1", &corev1.Node{}, noon)
	renew := func(i int, at time.Time) {
		p.UpdateReport("cp1", &v1alpha1.NodeCertificateReport{Summary: v1alpha1.ReportSummary{ObservedAt: at.Format(time.RFC3339)},
			Certificates: []v1alpha1.ReportedCertificate{{Service: certs.Etcd, Name: "etcd-server", SerialNumber: "1", FingerprintSHA256: fmt.Sprintf("%064x", i), NotAfter: metav1.NewTime(at.Add(day))}}})
	}
	for i := range 3 * maxRenewed {
		renew(i, noon.Add(-20*day))
	}
	assert.LessOrEqual(t, len(p.renewed), 2*maxRenewed)
	renew(0xabcdef, noon.Add(-time.Minute))
	p.dropOldRenewals(noon)
	_, renewed := p.TakeChanges()
	assert.Len(t, renewed, 1)
	assert.Equal(t, fmt.Sprintf("%064x", 0xabcdef), renewed[0].FingerprintSHA256)
}

// TestReportedUnrenewableCertificateIsLeftOut, and a change of that is a change of the node.
func TestReportedUnrenewableCertificateIsLeftOut(t *testing.T) {
	p := NewPicture()
	p.UpdateNode("w1", &corev1.Node{}, noon)
	report := &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{{
		Service: certs.Kubelet, Name: "kubelet-client", KeptKey: "kept", NotRenewable: &v1alpha1.NotRenewable{Reason: "no issuer", MaxRestart: "Never"}}}}
	report.Name = "w1"
	compact, err := CompactObject(report.DeepCopy())
	require.NoError(t, err)
	assert.True(t, p.UpdateReport("w1", compact.(*v1alpha1.NodeCertificateReport)))
	c := p.LookupNode("w1").Certificates[0]
	assert.Equal(t, []string{"no issuer", "never", "kept"}, []string{c.NotRenewable, string(c.MaxRestart), c.KeptKey})
	assert.False(t, p.UpdateReport("w1", report))
	report.Certificates[0].NotRenewable = nil
	assert.True(t, p.UpdateReport("w1", report))
}

// TestNoticeNamesUnrenewableCertificate in its event's message.
func TestNoticeNamesUnrenewableCertificate(t *testing.T) {
	for _, kind := range []renewal.NoticeKind{renewal.CertificateExpired, renewal.CertificateExpiring} {
		_, _, text := noticeData(renewal.Notice{Kind: kind, Certificate: renewal.Certificate{Name: "apiserver", Service: "kube-apiserver", NotRenewable: "it cannot be renewed here: no issuer"}})
		assert.Contains(t, text, "; it cannot be renewed here: no issuer")
	}
}
