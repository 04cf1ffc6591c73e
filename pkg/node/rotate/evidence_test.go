package rotate

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// evidenceDetails returns the details of the evidence for the certificate whose ID contains a
// text.
func (r *records) evidenceDetails(name string) string {
	var out []string
	for _, rec := range r.recordsOf(nodeapi.Verified) {
		if strings.Contains(rec.Evidence.TargetID, "/"+name) {
			out = append(out, string(rec.Evidence.Method)+": "+rec.Evidence.Detail)
		}
	}
	return strings.Join(out, "\n")
}

// TestEvidenceOfARunningComponentThatIsNotRestarted has a scheduler that cannot be restarted:
// it uses the old certificate, and there is no evidence to the contrary.
func TestEvidenceOfARunningComponentThatIsNotRestarted(t *testing.T) {
	for _, kind := range []inventory.RuntimeKind{inventory.None} { // supervised components are left out of the plan
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.startedBy = map[certs.Service]inventory.RuntimeKind{certs.KubeScheduler: kind}
				r := rotateAll(n, plan.RestartNever, certs.KubeScheduler)
				if len(n.started) != 0 {
					t.Errorf("restarted %v", n.started)
				}
				got := r.evidenceDetails("scheduler.conf@")
				if strings.Contains(got, "not used") || !strings.Contains(got, "uses the old one until it is restarted") {
					t.Errorf("evidence:\n%s", got)
				}
			})
		})
	}
}

func TestEvidenceOfAnUnusedCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.rejects = func(inventory.Certificate, *x509.Certificate) error { return errors.New("connection refused") }
		r := rotateAll(n, plan.RestartAlways, certs.Admin)
		if got := r.evidenceDetails("admin.conf@"); !strings.Contains(got, "not used by a running component") {
			t.Errorf("evidence:\n%s", got)
		}
		if slices.Contains(n.started, certs.KubeAPIServer) {
			t.Errorf("restarted %v", n.started)
		}
	})
}
