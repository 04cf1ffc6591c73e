package controller

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// TestCertificatesAreRenewableOnceAControlPlaneHasTheKey, and only then: a change of that is a
// change of the nodes that need it.
func TestCertificatesAreRenewableOnceAControlPlaneHasTheKey(t *testing.T) {
	id := strings.Repeat("a", 64)
	controlPlane := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"node-role.kubernetes.io/control-plane": ""}}}
	needs := v1alpha1.ReportedCertificate{Service: certs.KubeProxy, Name: "kube-proxy.conf", Subject: "CN=system:kube-proxy",
		NotRenewable: &v1alpha1.NotRenewable{Reason: "no key", Authority: id}}
	admin := needs
	admin.Subject = "CN=admin,O=system:masters"
	worker := &v1alpha1.NodeCertificateReport{Certificates: []v1alpha1.ReportedCertificate{needs, admin}}
	keyed := &v1alpha1.NodeCertificateReport{Authorities: []v1alpha1.ReportedAuthority{{
		ID: id, FingerprintSHA256: strings.Repeat("b", 64), SerialNumber: "1", NotBefore: metav1.NewTime(noon), NotAfter: metav1.NewTime(noon.Add(day)), HasKey: true}}}
	p := NewPicture()
	p.UpdateNode("w1", &corev1.Node{}, noon)
	p.UpdateNode("w2", &corev1.Node{}, noon)
	p.UpdateNode("cp1", controlPlane, noon)
	p.UpdateReport("w1", worker)
	reason := func(i int) string { return p.LookupNode("w1").Certificates[i].NotRenewable }

	p.UpdateReport("w2", keyed)
	assert.Equal(t, "no key", reason(0), "a worker does not count")

	p.TakeChanges()
	p.UpdateReport("cp1", keyed)
	assert.Empty(t, reason(0))
	assert.Equal(t, "no key", reason(1), "no other node signs for an administrator on a worker")
	assert.True(t, p.IsSignedElsewhere("w1", &needs))
	assert.False(t, p.IsSignedElsewhere("w1", &admin))
	changes, _ := p.TakeChanges()
	assert.Contains(t, changes, "w1")
	assert.NotContains(t, changes, "w2")

	p.UpdateNode("cp1", nil, noon)
	assert.Equal(t, "no key", reason(0), "the node was deleted")
	changes, _ = p.TakeChanges()
	assert.Contains(t, changes, "w1")
}
