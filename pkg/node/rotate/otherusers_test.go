package rotate

import (
	"crypto/x509"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const vip = certs.Service("kube-vip")

// withVIP is a node whose kube-vip, a static pod, mounts admin.conf.
func withVIP(t *testing.T, restartable bool) *fakeNode {
	n := newFakeNode(t)
	n.others = map[string][]inventory.OtherUser{"admin.conf": {{Kind: inventory.OtherStaticPod, Name: string(vip), ContainerName: "vip",
		PodName: string(vip), PodNamespace: "kube-system", Restartable: restartable, GraceSeconds: 30}}}
	n.all[vip] = &fakeComponent{}
	n.launchService(vip)
	return n
}

// vipIsNew reports whether kube-vip has loaded another admin.conf than at first.
func (n *fakeNode) vipIsNew() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return certs.Fingerprint(n.all[vip].loaded["admin.conf"]) != n.original["admin.conf"]
}

func TestOtherUserOfAFileIsRestarted(t *testing.T) {
	for _, test := range []struct {
		name        string
		policy      plan.RestartPolicy
		restartable bool
		restarted   bool
	}{
		{"always", plan.RestartAlways, true, true},
		{"if-needed, since it reads its files when it starts", plan.RestartIfNeeded, true, true},
		{"never", plan.RestartNever, true, false},
		{"not restartable", plan.RestartAlways, false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := withVIP(t, test.restartable)
				r := rotateAll(n, test.policy, certs.KubeScheduler, certs.Admin)
				if got := r.lastRecord().Kind; got != nodeapi.Finished {
					t.Fatalf("ends with %s: %s", got, r.lastRecord().Message)
				}
				if n.vipIsNew() != test.restarted || slices.Contains(n.started, vip) != test.restarted {
					t.Errorf("kube-vip: new %v, restarts %v", n.vipIsNew(), n.started)
				}
				if test.restarted && n.started[len(n.started)-1] != vip {
					t.Errorf("restarted in the order %v, want kube-vip after the components", n.started)
				}
				got := r.evidenceDetails("admin.conf@")
				want := "kube-vip: keeps the old certificate"
				if test.restarted {
					want = "kube-vip: running"
				}
				if !strings.Contains(got, want) || strings.Contains(got, "not used") {
					t.Errorf("evidence:\n%s\nwant %q", got, want)
				}
			})
		})
	}
}

func TestOtherUserThatFailsIsRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := withVIP(t, true)
		n.breaks[vip] = true
		r := rotateAll(n, plan.RestartAlways, certs.Admin)
		rolledBack := r.recordsOf(nodeapi.RolledBack)
		if len(rolledBack) != 1 || !strings.Contains(rolledBack[0].Message, "kube-vip") {
			t.Fatalf("records: %s", r.kindsText())
		}
		if n.vipIsNew() || certs.Fingerprint(n.onDisk("admin.conf")) != n.original["admin.conf"] || !n.all[vip].running {
			t.Error("kube-vip does not run on the old admin.conf")
		}
	})
}

func TestOtherUserThatDoesNotRunIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := withVIP(t, true)
		n.all[vip].running = false
		r := rotateAll(n, plan.RestartAlways, certs.Admin)
		if got := r.lastRecord().Kind; got != nodeapi.Finished || slices.Contains(n.started, vip) {
			t.Errorf("ends with %s, restarts %v", got, n.started)
		}
	})
}

// A pod that failed before the commit may fail after it: it is restarted, and its failure
// causes no rollback.
func TestOtherUserThatFailedBeforeIsNotRequired(t *testing.T) {
	for name, fails := range map[string]func(*fakeNode){
		"does not start again": func(n *fakeNode) { n.stuck[vip] = true },
		"cannot be stopped":    func(n *fakeNode) { n.onStop = func(certs.Service) { n.exits = time.Hour } },
		"runs again":           func(*fakeNode) {},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := withVIP(t, true)
				n.failing = map[certs.Service]bool{vip: true}
				fails(n)
				r := rotateAll(n, plan.RestartAlways, certs.KubeScheduler, certs.Admin)
				if got := r.lastRecord().Kind; got != nodeapi.Finished {
					t.Fatalf("ends with %s: %s", got, r.lastRecord().Message)
				}
				if got := r.evidenceDetails("admin.conf@"); !strings.Contains(got, "kube-vip: failed before the commit") {
					t.Errorf("evidence:\n%s", got)
				}
			})
		})
	}
}

// It does not keep the old certificates from being verified either.
func TestOtherUserThatFailedBeforeBreaksNoRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := withVIP(t, true)
		n.failing = map[certs.Service]bool{vip: true}
		n.stuck[vip] = true
		n.rejects = func(c inventory.Certificate, leaf *x509.Certificate) error {
			if len(n.started) > 0 && c.Name == "admin.conf" {
				return component.ErrRejected
			}
			return nil
		}
		r := rotateAll(n, plan.RestartAlways, certs.KubeScheduler, certs.Admin)
		if got := r.recordsOf(nodeapi.RolledBack); len(got) != 1 {
			t.Errorf("records: %s", r.kindsText())
		}
	})
}

// One that has ten minutes to exit gets them.
func TestOtherUserWithALongGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := withVIP(t, true)
		n.others["admin.conf"][0].GraceSeconds = 600
		n.exits = 9 * time.Minute
		r := rotateAll(n, plan.RestartAlways, certs.Admin)
		if got := r.lastRecord().Kind; got != nodeapi.Finished || !n.vipIsNew() {
			t.Errorf("ends with %s: %s", got, r.lastRecord().Message)
		}
		if got := r.recordsOf(nodeapi.Restarting); len(got) != 1 || got[0].WithinSeconds < 600 {
			t.Errorf("restarting: %+v", got)
		}
	})
}
