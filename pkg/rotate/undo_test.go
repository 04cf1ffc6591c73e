package rotate

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// A kubelet that finds no API server when it starts leaves its static pods alone for a
// minute: it must not be restarted to save less than that.
func TestKubeletIsRestartedOnlyToEndALongerWait(t *testing.T) {
	for _, test := range []struct {
		name    string
		broken  certs.Service
		backOff time.Duration
		want    bool
	}{
		{"a short back-off", certs.KubeScheduler, 5 * time.Second, false},
		{"a long one", certs.KubeScheduler, 40 * time.Second, true},
		{"a long one, but there is no API server", certs.KubeAPIServer, 40 * time.Second, false},
		{"a very long one, without an API server", certs.KubeAPIServer, 160 * time.Second, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.breaks[test.broken] = true
				n.backOff = test.backOff
				r := rotateAll(n, plan.RestartAlways, test.broken)
				if len(r.of(journal.RolledBack)) != 1 {
					t.Fatalf("records: %s", r.kinds())
				}
				if got := slices.Contains(n.started, certs.Kubelet); got != test.want {
					t.Errorf("kubelet restarted: %v, want %v", got, test.want)
				}
			})
		})
	}
}
