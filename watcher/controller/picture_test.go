package controller

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// TestAStandbyRemembersWhatItMayHaveToTell and no more: it sees everything for months, and
// then is the leader.
func TestAStandbyRemembersWhatItMayHaveToTell(t *testing.T) {
	p := NewPicture()
	renew := func(i int, at time.Time) {
		p.Report("cp1", &v1alpha1.NodeCertificateReport{Summary: v1alpha1.ReportSummary{ObservedAt: at.Format(time.RFC3339)},
			Certificates: []v1alpha1.ReportedCertificate{{Service: certs.Etcd, Name: "etcd-server", FingerprintSHA256: fmt.Sprint(i), NotAfter: metav1.NewTime(at.Add(day))}}})
	}
	for i := range 3 * maxRenewed {
		renew(i, noon.Add(-20*day))
	}
	assert.LessOrEqual(t, len(p.renewed), 2*maxRenewed)
	renew(-1, noon.Add(-time.Minute))
	p.takeOver(noon)
	_, told := p.Changed()
	assert.Len(t, told, 1)
	assert.Equal(t, "-1", told[0].FingerprintSHA256)
}
