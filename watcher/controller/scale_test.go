package controller

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

// BenchmarkJudge is one judgement of 10,000 nodes with 20 certificates each: of all of
// them, and after one report has changed.
func BenchmarkJudge(b *testing.B) {
	const nodes, certificates = 10000, 20
	report := func(node, object string) *v1alpha1.NodeCertificateReport {
		r := &v1alpha1.NodeCertificateReport{}
		for i := range certificates {
			r.Certificates = append(r.Certificates, v1alpha1.ReportedCertificate{
				Service: certs.Kubelet, Name: fmt.Sprint("kubelet-", i), Path: fmt.Sprint("/var/lib/kubelet/pki/", i), Subject: "CN=" + node, Issuer: "CN=kubernetes",
				SerialNumber: "1", FingerprintSHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(object+fmt.Sprint(node, i)))), NotBefore: metav1.NewTime(noon.Add(-65 * day)), NotAfter: metav1.NewTime(noon.Add(300 * day)),
			})
		}
		return r
	}
	newDecider := func(b *testing.B) *Decider {
		b.Helper()
		scheme := runtime.NewScheme()
		require.NoError(b, v1alpha1.AddToScheme(scheme))
		policy := renewal.Default()
		return NewDecider(&Decider{
			Client: fake.NewClientBuilder().WithScheme(scheme).Build(), Picture: NewPicture(), Events: &publishedEvents{},
			Log: slog.New(slog.DiscardHandler), Now: (&clock{at: noon}).now,
		}, &policy)
	}
	d := newDecider(b)
	for i := range nodes {
		name := fmt.Sprintf("node-%05d", i)
		d.Picture.UpdateNode(name, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, noon)
		d.Picture.UpdateReport(name, report(name, "a"))
	}
	judge := func(b *testing.B) {
		b.Helper()
		_, err := d.decideOnce(b.Context())
		require.NoError(b, err)
	}
	b.Run("all", func(b *testing.B) {
		for b.Loop() {
			d.assessedBy = nil
			judge(b)
		}
	})
	b.Run("one", func(b *testing.B) {
		judge(b)
		for i := 0; b.Loop(); i++ {
			d.Picture.UpdateReport("node-00001", report("node-00001", fmt.Sprint(i)))
			judge(b)
		}
	})
}
