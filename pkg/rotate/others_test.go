package rotate

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const vip = certs.Service("kube-vip")

// withVIP is a node whose kube-vip, a static pod, mounts admin.conf.
func withVIP(t *testing.T, restartable bool) *fakeNode {
	n := newFakeNode(t)
	n.others = map[string][]inventory.OtherUser{"admin.conf": {{Kind: inventory.OtherStaticPod, Name: string(vip), ContainerName: "vip",
		PodName: string(vip), PodNamespace: "kube-system", Restartable: restartable, GraceSeconds: 30}}}
	n.all[vip] = &fakeComponent{}
	n.launch(vip)
	return n
}

// vipIsNew says whether kube-vip has loaded another admin.conf than at first.
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
				if got := r.last().Kind; got != journal.Finished {
					t.Fatalf("ends with %s: %s", got, r.last().Message)
				}
				if n.vipIsNew() != test.restarted || slices.Contains(n.started, vip) != test.restarted {
					t.Errorf("kube-vip: new %v, restarts %v", n.vipIsNew(), n.started)
				}
				if test.restarted && n.started[len(n.started)-1] != vip {
					t.Errorf("restarted in the order %v, want kube-vip after the components", n.started)
				}
				got := r.details("admin.conf@")
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
		rolledBack := r.of(journal.RolledBack)
		if len(rolledBack) != 1 || !strings.Contains(rolledBack[0].Message, "kube-vip") {
			t.Fatalf("records: %s", r.kinds())
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
		if got := r.last().Kind; got != journal.Finished || slices.Contains(n.started, vip) {
			t.Errorf("ends with %s, restarts %v", got, n.started)
		}
	})
}
