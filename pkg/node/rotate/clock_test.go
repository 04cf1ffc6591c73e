package rotate

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// The clock that is set in the middle of a commit changes nothing of how it ends.
func TestTheClockJumpsDuringACommit(t *testing.T) {
	for name, jump := range map[string]time.Duration{"back": -48 * time.Hour, "forward": 48 * time.Hour} {
		for end, fails := range map[nodeapi.Kind]bool{nodeapi.Committed: false, nodeapi.RolledBack: true} {
			t.Run(name+", "+string(end), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := newFakeNode(t)
					before := n.takeSnapshot()
					e, r := n.newEngine()
					var shift time.Duration
					clock := e.Now
					e.Now = func() time.Time { return clock().Add(shift) }
					n.stageServices(plan.RestartAlways, certs.Etcd, certs.KubeScheduler)
					r.orderAfter(n, nodeapi.Staged, commitOrder)
					r.orderAfter(n, end, finish)
					orders := r.hook
					r.hook = func(rec nodeapi.Record) {
						orders(rec)
						if rec.Kind == nodeapi.Replaced {
							shift = jump
						}
						if fails && rec.Kind == nodeapi.Restarted {
							r.hook = orders
							panic("whatever goes wrong")
						}
					}
					if err := runOrders(t, t.Context(), e); err != nil {
						t.Fatal(err)
					}
					if len(r.recordsOf(end)) != 1 {
						t.Fatalf("want %s in %s", end, r.kindsText())
					}
					n.isAll(!fails, certs.Etcd, certs.KubeScheduler)
					if fails {
						n.sameAs(before)
					}
				})
			})
		}
	}
}
