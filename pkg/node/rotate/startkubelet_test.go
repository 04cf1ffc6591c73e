package rotate

import (
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// By hand, static pods may be started as late as by a kubelet that has just come up.
func TestStaticPodsOfAColdKubeletAreAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.pause = 75 * time.Second
		e, _ := n.newEngine()
		e.Alone = true
		if err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{certs.Etcd, certs.KubeAPIServer}, Restart: plan.RestartAlways}); err != nil {
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
				if r.lastRecord().Kind != nodeapi.Finished {
					t.Fatalf("records: %s: %s", r.kindsText(), r.lastRecord().Message)
				}
				n.isAll(true, services...)
				// What it starts has read the new files, and is not restarted again.
				if !slices.Equal(n.started, []certs.Service{certs.Kubelet}) {
					t.Errorf("restarted in the order %v", n.started)
				}
			})
		})
	}
}

// rebootWithoutKubelet stops every component and the kubelet that would start them.
func (n *fakeNode) rebootWithoutKubelet() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.noKubelet = true
	for s, c := range n.all {
		c.running = false
		if s != certs.Kubelet {
			go n.superviseService(s)
		}
	}
}

// Every old certificate has expired, so the new ones stay when the commit fails. Components
// that are restarted for that are waited for as long as their supervisor may pause.
func TestPauseBeforeNewCertificatesAreVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.expireScheduler()
		n.expireEtcd(certstest.Now.Add(-time.Hour))
		n.backOff = 2 * time.Minute
		n.pause = 100 * time.Second
		n.unhealthy[certs.Etcd] = true
		e, r := n.newEngine()
		e.Alone = true
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.RollingBack {
				n.mu.Lock()
				n.unhealthy[certs.Etcd] = false // the other members have come back
				n.mu.Unlock()
			}
		}
		services := []certs.Service{certs.Etcd, certs.KubeScheduler}
		err := e.RotateByHand(t.Context(), plan.Request{Services: services, Restart: plan.RestartAlways})
		if !errors.Is(err, ErrAsBefore) && err != nil {
			t.Errorf("error: %v", err)
		}
		n.isAll(true, services...)
		if got := n.nodeRotation(); got.State != inventory.Finished || got.Unverified {
			t.Errorf("the rotation stands as %s, unverified %v; records %s", got.State, got.Unverified, r.kindsText())
		}
	})
}

// expireScheduler gives the scheduler a certificate that has expired.
func (n *fakeNode) expireScheduler() {
	n.t.Helper()
	at := certstest.Now.Add(-time.Hour)
	old := n.tree.CA.Leaf(n.t, certstest.Name("system:kube-scheduler"), certstest.Valid(at.Add(-time.Hour), at), certstest.Usages(x509.ExtKeyUsageClientAuth))
	n.tree.Write(n.t, "/etc/kubernetes/scheduler.conf", certstest.Kubeconfig(n.t, n.tree.CA, n.tree.Stores["scheduler.conf"].User, old), 0o600)
	n.original["scheduler.conf"] = certs.Fingerprint(old.Leaf())
}

// etcd had not loaded its newest files before the commit, and was not restarted by it. It still
// serves its older certificate, and the node is verified all the same.
func TestStaleComponentThatWasNotRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.original["etcd-server"] = n.renewEtcd("etcd-server")
		n.expireScheduler()
		n.interruptCommit(certs.Etcd, certs.KubeScheduler)
		e, _ := n.newEngine()
		undone, err := e.RecoverNode(t.Context(), false)
		if err != nil || len(undone) != 1 || undone[0].Unverified {
			t.Errorf("%+v, %v", undone, err)
		}
		if slices.Contains(n.started, certs.Etcd) {
			t.Errorf("restarted: %v", n.started)
		}
	})
}
