package rotate

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// A component of any kind that is unhealthy before the commit, and stays so with its new
// certificates, is rolled back. Its old certificates need not make it healthier than it was.
func TestUnhealthyComponentOfEveryKind(t *testing.T) {
	for _, s := range []certs.Service{certs.Etcd, certs.Kubelet, certs.KubeAPIServer, certs.KubeControllerManager, certs.KubeScheduler} {
		t.Run(string(s), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.unhealthy[s] = true
				r := rotateAll(n, plan.RestartAlways, s)
				got := r.recordsOf(nodeapi.RolledBack)
				if len(got) != 1 || got[0].Unverified || !strings.Contains(got[0].Message, "status 500") || len(r.recordsOf(nodeapi.Committed)) > 0 {
					t.Fatalf("records: %s", r.kindsText())
				}
				if got := r.recordsOf(nodeapi.RollingBack)[0]; got.Service != s || !strings.Contains(got.Message, "did not become healthy") {
					t.Errorf("rolling back: %s: %s", got.Service, got.Message)
				}
				n.isAll(false)
			})
		})
	}
}
