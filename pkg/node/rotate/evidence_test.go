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

// details are what the evidence says of the certificate in whose ID a text occurs.
func (r *records) details(name string) string {
	var out []string
	for _, rec := range r.of(nodeapi.Verified) {
		if strings.Contains(rec.Evidence.TargetID, "/"+name) {
			out = append(out, string(rec.Evidence.Method)+": "+rec.Evidence.Detail)
		}
	}
	return strings.Join(out, "\n")
}

// TestEvidenceOfARunningComponentThatIsNotRestarted has a scheduler that nothing here can
// restart: it runs on the old certificate, and no evidence says otherwise.
func TestEvidenceOfARunningComponentThatIsNotRestarted(t *testing.T) {
	for _, kind := range []inventory.RuntimeKind{inventory.None} { // what is supervised is left out of the plan
		t.Run(string(kind), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.startedBy = map[certs.Service]inventory.RuntimeKind{certs.KubeScheduler: kind}
				r := rotateAll(n, plan.RestartNever, certs.KubeScheduler)
				if len(n.started) != 0 {
					t.Errorf("restarted %v", n.started)
				}
				got := r.details("scheduler.conf@")
				if strings.Contains(got, "not used") || !strings.Contains(got, "uses the old one until it is restarted") {
					t.Errorf("evidence:\n%s", got)
				}
			})
		})
	}
}

func TestEvidenceOfWhatNothingUses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.rejects = func(inventory.Certificate, *x509.Certificate) error { return errors.New("connection refused") }
		r := rotateAll(n, plan.RestartAlways, certs.Admin)
		if got := r.details("admin.conf@"); !strings.Contains(got, "not used by a running component") {
			t.Errorf("evidence:\n%s", got)
		}
		if slices.Contains(n.started, certs.KubeAPIServer) {
			t.Errorf("restarted %v", n.started)
		}
	})
}
