package rotate

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// The services whose certificates "rke2 certificate rotate --service=etcd" renews: the API
// server's client certificate for etcd is one of them.
var ofEtcdPart = map[string]bool{"etcd-server": true, "etcd-peer": true, "etcd-healthcheck-client": true, "apiserver-etcd-client": true}

// isOnlyNew fails the test unless exactly these certificates are new on disk.
func (r *fakeRKE2) isOnlyNew(names map[string]bool) {
	r.t.Helper()
	for name := range owners {
		if isNew := certs.Fingerprint(r.onDisk(name)) != r.original[name]; isNew != names[name] {
			r.t.Errorf("%s: new = %v, want %v", name, isNew, names[name])
		}
	}
}

// TestCommandOfTheDistributionIsTheRotation is RKE2: the command runs while the unit is
// stopped, only for what was asked, and everything that it renews is verified.
func TestCommandOfTheDistributionIsTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeRKE2(t)
		r := k.rotateServices(nodeapi.Order{}, certs.Etcd)
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
		}
		k.isOnlyNew(ofEtcdPart)
		k.noSecrets()
		k.stagedIsEmpty()
		want := []string{"rke2 certificate rotate --data-dir=" + k.dir + " --service=etcd"}
		if !slices.Equal(k.commands, want) || !slices.Equal(k.started, []certs.Service{rke2Unit}) {
			t.Errorf("commands %q, restarted %v", k.commands, k.started)
		}
		for name, method := range map[string]nodeapi.Method{"etcd-server@": nodeapi.Handshake, "etcd-peer@": nodeapi.Handshake, "apiserver-etcd-client@": nodeapi.Authenticated} {
			if !r.isVerified(name, method) {
				t.Errorf("%s is not verified by %s", name, method)
			}
		}
		if n := len(r.recordsOf(nodeapi.Restarted)); n != 5 {
			t.Errorf("%d components are recorded as restarted, want all of the node", n)
		}
		if _, err := os.Stat(filepath.Join(k.dir, "server/tls-1764000000/pki/etcd/server.key")); err != nil {
			t.Errorf("the command's own backup: %v", err)
		}
		if said := r.lastRecord().Message; !strings.Contains(said, "in a backup of its own") {
			t.Errorf("what became of the earlier certificates: %q", said)
		}
	})
}

func TestCommandIsGivenEveryPartThatIsRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeRKE2(t)
		r := k.rotateServices(nodeapi.Order{Compromised: true}, ofK0s...)
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
		}
		k.isAll(true, ofK0s...)
		k.isAll(false, certs.Kubelet)
		const parts = " --service=admin --service=api-server --service=auth-proxy --service=controller-manager --service=etcd --service=scheduler"
		if len(k.commands) != 1 || !strings.HasSuffix(k.commands[0], parts) {
			t.Errorf("commands %q", k.commands)
		}
		backup := filepath.Join(k.dir, "server/tls-1764000000/pki")
		for _, name := range []string{"apiserver.key", "etcd/server.key", "front-proxy-client.key"} {
			if _, err := os.Stat(filepath.Join(backup, name)); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the compromised key %s is in the command's backup: %v", name, err)
			}
		}
		for _, name := range []string{"apiserver.crt", "ca.key"} {
			if _, err := os.Stat(filepath.Join(backup, name)); err != nil {
				t.Errorf("%s is not compromised: %v", name, err)
			}
		}
	})
}

// TestCommandThatFailsIsReported: the unit is started again all the same, and the certificates in
// place are verified and reported.
func TestCommandThatFailsIsReported(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(k *fakeRKE2)
		order  nodeapi.Order
		kind   nodeapi.Kind
		words  string
	}{
		"the command fails": {func(k *fakeRKE2) { k.addFlag("broken") }, nodeapi.Order{}, nodeapi.RolledBack, "no certificate was renewed, and the old ones are verified"},
		"and its unit is not started again": {func(k *fakeRKE2) { k.addFlag("broken"); k.forgets = true }, nodeapi.Order{}, nodeapi.RolledBack,
			`"rke2 certificate rotate" failed, and rke2-server.service was started again: exit status 4`},
		"a file stays":            {func(k *fakeRKE2) { k.spares = "etcd-peer"; k.program = k.standInFor() }, nodeapi.Order{}, nodeapi.Unknown, "3 of 4 certificates are new, not etcd-peer"},
		"the unit does not start": {func(k *fakeRKE2) { k.dies = true }, nodeapi.Order{}, nodeapi.Unknown, "rke2-server.service did not start again"},
		"etcd is not healthy": {func(k *fakeRKE2) { k.onStop = func(certs.Service) { k.unhealthy[certs.Etcd] = true } }, nodeapi.Order{}, nodeapi.Unknown,
			"etcd did not become healthy"},
		"a compromised key stays": {func(k *fakeRKE2) { k.sameKey = true }, nodeapi.Order{Compromised: true}, nodeapi.Unknown, "has the old key, which is compromised"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeRKE2(t)
				tt.change(k)
				r := k.rotateServices(tt.order, certs.Etcd)
				ended := r.recordsOf(tt.kind)
				if len(ended) != 1 || !strings.Contains(ended[0].Message, tt.words) {
					t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
				}
				if tt.kind == nodeapi.Unknown && !strings.Contains(ended[0].Hint, "/var/lib/rancher/rke2/server/tls-*") {
					t.Errorf("hint %q", ended[0].Hint)
				}
				if i, err := k.CurrentInstance(t.Context(), unitComponent(rke2Unit)); err != nil || i.Running == k.dies || len(k.commands) != 1 {
					t.Errorf("the unit at the end: %+v, %v; commands %q", i, err, k.commands)
				}
				k.stagedIsEmpty()
			})
		})
	}
}

// TestCommandIsWithdrawnFromAUnitThatDoesNotStop: a unit may take any time to stop. The command
// that waits for it must not run after the outcome is reported.
func TestCommandIsWithdrawnFromAUnitThatDoesNotStop(t *testing.T) {
	for name, tt := range map[string]struct {
		pending bool
		kind    nodeapi.Kind
		words   string
	}{
		"withdrawn":              {false, nodeapi.RolledBack, "no certificate was renewed, and the old ones are verified"},
		"it cannot be withdrawn": {true, nodeapi.Unknown, `0 of 4 certificates are new, and "rke2 certificate rotate" may still be run: systemd does not answer`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeRKE2(t)
				k.stops = time.Hour
				k.pending = tt.pending
				r := k.rotateServices(nodeapi.Order{}, certs.Etcd)
				ended := r.recordsOf(tt.kind)
				if len(ended) != 1 || !strings.Contains(ended[0].Message, tt.words) {
					t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
				}
				time.Sleep(2 * time.Hour) // the clock of the test: the unit has stopped and started
				if !tt.pending {
					k.isOnlyNew(nil)
				}
			})
		})
	}
}

// TestCommandIsNotRunWithAnotherPlan: the node runs the command that it finds itself.
func TestCommandIsNotRunWithAnotherPlan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeRKE2(t)
		e, r := k.newEngine()
		program := k.program
		k.program = "/bin/other"
		k.stageServices(nodeapi.Order{}, certs.Etcd)
		k.program = program
		r.orderAfter(k.fakeNode, nodeapi.Refused, abandon)
		r.orderAfter(k.fakeNode, nodeapi.Staged, commitOrder)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if refused := r.recordsOf(nodeapi.Refused); len(refused) != 1 || !strings.Contains(refused[0].Message, "/bin/other") || len(k.commands) > 0 {
			t.Errorf("%s, commands %q", r.kindsText(), k.commands)
		}
	})
}

// TestCommandKilledAtEveryRecord: the unit runs again whatever becomes of the process, and the
// next one finds the certificates that are in place.
func TestCommandKilledAtEveryRecord(t *testing.T) {
	killAtEveryRecord(t, newFakeRKE2, func(k *fakeRKE2) *fakeNode { return k.fakeNode },
		func(k *fakeRKE2) int { return len(k.commands) }, func(k *fakeRKE2, renewed bool) {
			if renewed {
				k.isOnlyNew(ofEtcdPart)
			} else {
				k.isOnlyNew(nil)
			}
		})
}

// TestCommandInProgressIsAwaited: the process ends while the unit is stopped. The next one
// waits for the command and, where systemd does not start the unit again, does so itself.
func TestCommandInProgressIsAwaited(t *testing.T) {
	for name, forgets := range map[string]bool{"systemd starts the unit": false, "systemd does not": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeRKE2(t)
				k.stops = 80 * time.Second
				k.forgets = forgets
				k.onStop = func(certs.Service) { k.killProcessLocked() }
				r := k.commitKilled(k, certs.Etcd)
				k.isOnlyNew(ofEtcdPart)
				if len(r.recordsOf(nodeapi.Committed)) != 1 || len(k.commands) != 1 {
					t.Errorf("%s, commands %q", r.kindsText(), k.commands)
				}
			})
		})
	}
}

// TestKubeProxyOfRKE2MayContinue unless its own certificate was renewed: RKE2 does not replace
// its static pod in every case.
func TestKubeProxyOfRKE2MayContinue(t *testing.T) {
	proxy := inventory.Component{Service: certs.KubeProxy, Runtime: inventory.StaticPod, Unit: rke2Unit, PID: 100}
	etcd := inventory.Component{Service: certs.Etcd, Runtime: inventory.StaticPod, Unit: rke2Unit, PID: 101}
	for name, tt := range map[string]struct {
		running inventory.Component
		renewed certs.Service
		fails   bool
	}{
		"kube-proxy, with etcd renewed": {proxy, certs.Etcd, false},
		"kube-proxy, renewed":           {proxy, certs.KubeProxy, true},
		"etcd, with kube-proxy renewed": {etcd, certs.KubeProxy, true},
	} {
		t.Run(name, func(t *testing.T) {
			node := inventory.Node{Components: []inventory.Component{tt.running}}
			c := &committing{t: &transaction{Unit: rke2Unit, Node: node, Items: []item{{Certificate: inventory.Certificate{Service: tt.renewed}}}}}
			if _, err := c.notRestarted(node); (err != nil) != tt.fails {
				t.Errorf("still the same process: %v", err)
			}
		})
	}
}
