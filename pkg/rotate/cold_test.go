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

// By hand, static pods may be started as late as by a kubelet that has just come up and
// finds no API server.
func TestStaticPodsOfAColdKubeletAreAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.pause = 75 * time.Second
		e, _ := n.engine()
		e.Alone = true
		if err := e.ByHand(t.Context(), plan.Request{Services: []certs.Service{certs.Etcd, certs.KubeAPIServer}, Restart: plan.RestartAlways}); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Etcd, certs.KubeAPIServer)
	})
}

// A kubelet that does not run starts no static pod: it is restarted before anything is
// waited for, and only once.
func TestKubeletThatDoesNotRunIsStartedFirst(t *testing.T) {
	for name, services := range map[string][]certs.Service{
		"in scope":     certs.Services(),
		"out of scope": {certs.Etcd, certs.KubeAPIServer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.rebootWithoutKubelet()
				r := rotateAll(n, plan.RestartAlways, services...)
				if r.last().Kind != journal.Finished {
					t.Fatalf("records: %s: %s", r.kinds(), r.last().Message)
				}
				n.isAll(true, services...)
				if n.started[0] != certs.Kubelet || slices.Contains(n.started[1:], certs.Kubelet) {
					t.Errorf("restarted in the order %v", n.started)
				}
			})
		})
	}
}

// rebootWithoutKubelet leaves nothing running, and nobody to start it.
func (n *fakeNode) rebootWithoutKubelet() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noKubelet = true
	for s, c := range n.all {
		c.running = false
		if s != certs.Kubelet {
			go n.supervise(s)
		}
	}
}
