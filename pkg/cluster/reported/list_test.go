package reported

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

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

// TestReportedCertificatesAreJudgedNow: a report has no status, and was written earlier.
func TestReportedCertificatesAreJudgedNow(t *testing.T) {
	of := func(name string, left time.Duration, change func(*v1alpha1.ReportedCertificate)) v1alpha1.ReportedCertificate {
		c := reportedLeaf(certs.Etcd, name)
		c.NotBefore.Time = noon.Add(left - 365*day)
		c.NotAfter.Time = noon.Add(left)
		if change != nil {
			change(&c)
		}
		return c
	}
	noKey := &v1alpha1.NotRenewable{Reason: "no CA key on this node"}
	w1 := reportOf("w1", time.Hour, of("only", 300*day, nil))
	cp1 := reportOf("cp1", time.Minute,
		of("ok", 300*day, nil), of("expiring", 10*day, nil), of("expired", -day, nil),
		of("unread", 300*day, func(c *v1alpha1.ReportedCertificate) { c.FingerprintSHA256, c.Reason = "", "permission denied" }),
		of("other", 300*day, func(c *v1alpha1.ReportedCertificate) {
			c.Reason = "10.0.0.1:2379 serves another certificate, which expires 2026-12-01T00:00:00Z"
		}),
		of("broken", 300*day, func(c *v1alpha1.ReportedCertificate) { c.Reason = "tls: private key does not match public key" }),
		of("without", 300*day, func(c *v1alpha1.ReportedCertificate) { c.Reason, c.NotRenewable = noKey.Reason, noKey }))
	cp1.Summary.Problems = 4
	cp1.NotInspected = []v1alpha1.ReportedGap{{Path: "/x", Reason: "permission denied"}}
	cp1.Authorities = []v1alpha1.ReportedAuthority{{ID: "a", Name: "etcd-ca", Path: "/ca.crt", FingerprintSHA256: "f1", HasKey: true}}
	cp1.Authorities[0].NotBefore.Time = noon.Add(-365 * day)
	cp1.Authorities[0].NotAfter.Time = noon.Add(3600 * day)
	nodes := []kubenode.Node{{Name: "cp1", ControlPlane: true}, {Name: "w1"}}
	list := ListCertificates([]v1alpha1.NodeCertificateReport{w1, cp1}, nodes, noon)
	status := map[string]certs.Status{}
	for _, c := range list.Items {
		status[c.Name] = c.Status
	}
	assert.Equal(t, map[string]certs.Status{"ok": certs.OK, "expiring": certs.Expiring, "expired": certs.Expired, "unread": certs.Invalid,
		"other": certs.NotServed, "broken": StatusUnknown, "without": StatusUnknown, "only": certs.OK}, status)
	assert.Equal(t, "cp1", list.Items[0].Node, "sorted as check sorts")
	require.Len(t, list.Authorities, 1)
	assert.Equal(t, []string{"cp1"}, list.Authorities[0].KeyOn)
	assert.Equal(t, certs.OK, list.Authorities[0].Status)
	require.Len(t, list.NotInspected, 1)
	assert.Equal(t, "/x", list.NotInspected[0].Path)

	cp1.Summary.Problems = 5 // both
	for _, c := range ListCertificates([]v1alpha1.NodeCertificateReport{cp1}, nodes, noon).Items {
		if c.Name == "broken" || c.Name == "without" {
			assert.Equal(t, certs.Invalid, c.Status)
		}
	}
	cp1.Summary.Problems = 3 // none but the gap, the unreadable one and the one that is not served
	list = ListCertificates([]v1alpha1.NodeCertificateReport{cp1}, nodes, noon)
	for _, c := range list.Items {
		if c.Name == "without" {
			assert.Equal(t, certs.OK, c.Status, "its reason says why it cannot be renewed, no more")
			assert.Equal(t, noKey.Reason, c.NotRenewable)
		}
	}
}

// TestRefusedCertificateOfAnotherNodesCA: Go refuses its signature, whether or not the key of its CA is
// on the node.
func TestRefusedCertificateOfAnotherNodesCA(t *testing.T) {
	of := func(name, reason string) v1alpha1.ReportedCertificate {
		c := reportedLeaf(certs.Etcd, name)
		c.NotBefore.Time = noon.Add(-65 * day)
		c.Reason = reason
		c.NotRenewable = &v1alpha1.NotRenewable{Reason: reason, Authority: "a"}
		return c
	}
	const elsewhere = "cannot be renewed from this node: the key of its CA is not on this node"
	cp2 := reportOf("cp2", time.Minute, of("sha1", "is signed with SHA1-RSA"+certs.RefusedText+" (since Kubernetes 1.24); "+elsewhere), of("good", elsewhere))
	cp2.Summary.Problems = 1
	cp2.Summary.Certificates = 2
	status := map[string]certs.Status{}
	for _, c := range ListCertificates([]v1alpha1.NodeCertificateReport{cp2}, []kubenode.Node{{Name: "cp2", ControlPlane: true}}, noon).Items {
		status[c.Name] = c.Status
	}
	assert.Equal(t, map[string]certs.Status{"sha1": certs.Invalid, "good": certs.OK}, status)
}
