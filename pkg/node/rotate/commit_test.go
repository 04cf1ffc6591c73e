package rotate

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var (
	commitOrder = nodeapi.Order{Kind: nodeapi.OrderCommit}
	finish      = nodeapi.Order{Kind: nodeapi.OrderFinish}
	abandon     = nodeapi.Order{Kind: nodeapi.OrderAbandon}
)

// rotateAll stages, commits and finishes, and returns the records.
func rotateAll(n *fakeNode, policy plan.RestartPolicy, services ...certs.Service) *records {
	n.t.Helper()
	e, r := n.newEngine()
	n.stageServices(policy, services...)
	r.orderAfter(n, nodeapi.Staged, commitOrder)
	r.orderAfter(n, nodeapi.Committed, finish)
	r.signElsewhere(n)
	for _, bad := range []nodeapi.Kind{nodeapi.RolledBack, nodeapi.Unknown, nodeapi.Failed, nodeapi.Refused} {
		r.orderAfter(n, bad, abandon)
	}
	if err := runOrders(n.t, n.t.Context(), e); err != nil {
		n.t.Fatal(err)
	}
	return r
}

func TestEverythingIsRenewedAndVerified(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		r := rotateAll(n, plan.RestartAlways)
		n.isAll(true)
		n.noSecrets()
		if got := r.lastRecord().Kind; got != nodeapi.Finished {
			t.Fatalf("ends with %s: %s", got, r.lastRecord().Message)
		}
		want := []certs.Service{certs.KubeAPIServer, certs.Etcd, certs.KubeControllerManager, certs.KubeScheduler, certs.Kubelet}
		if !slices.Equal(n.started, want) {
			t.Errorf("restarted in the order %v, want %v", n.started, want)
		}
		committed := r.recordsOf(nodeapi.Committed)[0]
		if len(committed.Renewals) != len(owners) {
			t.Errorf("%d renewals reported, want %d", len(committed.Renewals), len(owners))
		}
		for _, renewal := range committed.Renewals {
			if renewal.Old.FingerprintSHA256 == renewal.New.FingerprintSHA256 || renewal.Old.SerialNumber == renewal.New.SerialNumber {
				t.Errorf("%s: old and new are the same", renewal.ID)
			}
		}
		for name, method := range map[string]nodeapi.Method{
			"apiserver@": nodeapi.Handshake, "etcd-peer@": nodeapi.Handshake, "kubelet-server@": nodeapi.Handshake,
			"scheduler.conf@": nodeapi.Authenticated, "front-proxy-client@": nodeapi.Authenticated,
		} {
			if !r.isVerified(name, method) {
				t.Errorf("%s is not verified by %s", name, method)
			}
		}
		// Static pods are verified before the kubelet is restarted.
		if r.indexOf(nodeapi.Restarting, certs.Kubelet) < r.indexVerified("apiserver@") {
			t.Error("the kubelet was restarted before the API server was verified")
		}
		for _, rec := range r.recordsOf(nodeapi.Restarted) {
			if rec.UnavailableSeconds < 0.3 || rec.UnavailableSeconds > 1 {
				t.Errorf("%s was unavailable for %v s, want about 0.5", rec.Service, rec.UnavailableSeconds)
			}
		}
		n.stagedIsEmpty()
		n.backupIsPrivate()
	})
}

func TestOnlyTheServiceInScopeIsTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		before := n.takeSnapshot()
		rotateAll(n, plan.RestartAlways, certs.KubeScheduler)
		n.isAll(true, certs.KubeScheduler)
		n.isAll(false, certs.Etcd, certs.KubeAPIServer, certs.KubeControllerManager, certs.Kubelet, certs.Admin)
		if !slices.Equal(n.started, []certs.Service{certs.KubeScheduler}) {
			t.Errorf("restarted %v", n.started)
		}
		for path, was := range n.takeSnapshot() {
			if path != "/etc/kubernetes/scheduler.conf" && before[path] != was {
				t.Errorf("%s was changed", path)
			}
		}
	})
}

func TestRollbackOnFailedVerification(t *testing.T) {
	const service = certs.KubeControllerManager
	for _, test := range []struct {
		name        string
		prepare     func(n *fakeNode)
		what, words string
	}{
		{"the component cannot start", func(n *fakeNode) { n.breaks[service] = true },
			"kube-controller-manager did not start again", "it exited 2 times; last log lines: panic: bad certificate in kube-controller-manager"},
		{"it starts and is not healthy", func(n *fakeNode) {
			n.onStop = func(s certs.Service) { n.unhealthy[s] = s == service && len(n.started) < 6 }
		}, "kube-controller-manager did not become healthy within 60s", "status 500"},
		{"it still serves the old certificate", func(n *fakeNode) { n.keepsOld[certs.KubeAPIServer] = true },
			"127.0.0.1:6443 does not serve the new certificate of apiserver", "valid until"},
		{"its new client certificate is not accepted", func(n *fakeNode) {
			n.onStop = func(certs.Service) { // while staging it still was
				n.rejects = func(c inventory.Certificate, leaf *x509.Certificate) error {
					if c.Name == "controller-manager.conf" {
						return fmt.Errorf("401: %w", component.ErrRejected)
					}
					return nil
				}
			}
		}, "server-of-controller-manager.conf does not accept the new certificate", "401"},
		{"something else overwrites it", func(n *fakeNode) {
			n.onStop = func(s certs.Service) {
				if s == service {
					n.onStop = nil
					n.tree.WritePair(n.t, certstest.PKIDir+"/apiserver", n.tree.CA.Leaf(n.t, certstest.Name("kube-apiserver")))
				}
			}
		}, "apiserver was changed by another program", "it is certificate"},
		{"a program error", func(n *fakeNode) {
			n.onStop = func(s certs.Service) {
				if s == service {
					n.onStop = nil
					panic("index out of range")
				}
			}
		}, "the commit failed", "program error in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				before := n.takeSnapshot()
				test.prepare(n)
				r := rotateAll(n, plan.RestartAlways)
				n.isAll(false)
				n.sameAs(before)
				n.noSecrets()
				n.stagedIsEmpty()
				rolledBack := r.recordsOf(nodeapi.RolledBack)
				if len(rolledBack) != 1 {
					t.Fatalf("records: %s\n%+v", r.kindsText(), r.lastRecord())
				}
				if got := r.recordsOf(nodeapi.RollingBack)[0].Message; !strings.Contains(got, test.what) {
					t.Errorf("undone because %q, want %q", got, test.what)
				}
				if got := rolledBack[0].Message; !strings.Contains(got, test.words) {
					t.Errorf("cause %q, want %q in it", got, test.words)
				}
			})
		})
	}
}

func TestUnverifiedRollbackRequiresManualIntervention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.stuck[certs.Etcd] = true
		r := rotateAll(n, plan.RestartAlways, certs.Etcd)
		broken := r.recordsOf(nodeapi.Unknown)
		if len(broken) != 1 {
			t.Fatalf("records: %s", r.kindsText())
		}
		if !strings.Contains(broken[0].Message, "etcd") || !strings.Contains(broken[0].Hint, "/var/lib/rotate-certs/rotations/7f3c2a/backup/2") {
			t.Errorf("message %q\nhint %q", broken[0].Message, broken[0].Hint)
		}
		for _, name := range []string{"etcd-server", "etcd-peer"} {
			if certs.Fingerprint(n.onDisk(name)) != n.original[name] {
				t.Errorf("%s was not restored", name)
			}
		}
	})
}

func TestRestartPolicies(t *testing.T) {
	for _, test := range []struct {
		name    string
		policy  plan.RestartPolicy
		reloads bool
		started []certs.Service
		method  nodeapi.Method // of the API server's serving pair
		kubelet nodeapi.Method // of the API server's client pair to kubelets
	}{
		{"if needed, and it reloads", plan.RestartIfNeeded, true, nil, nodeapi.Handshake, nodeapi.HotReload},
		{"if needed, and it does not reload", plan.RestartIfNeeded, false, []certs.Service{certs.KubeAPIServer}, nodeapi.Handshake, nodeapi.Authenticated},
		{"never, and it reloads", plan.RestartNever, true, nil, nodeapi.Handshake, nodeapi.HotReload},
		{"never, and it does not reload", plan.RestartNever, false, nil, nodeapi.FileOnly, nodeapi.HotReload},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.reloads = test.reloads
				r := rotateAll(n, test.policy, certs.KubeAPIServer)
				if r.lastRecord().Kind != nodeapi.Finished {
					t.Fatalf("records: %s", r.kindsText())
				}
				if !slices.Equal(n.started, test.started) {
					t.Errorf("restarted %v, want %v", n.started, test.started)
				}
				if !r.isVerified("apiserver@", test.method) {
					t.Errorf("apiserver is not verified by %s: %+v", test.method, r.recordsOf(nodeapi.Verified))
				}
				if !r.isVerified("apiserver-kubelet-client@", test.kubelet) {
					t.Errorf("apiserver-kubelet-client is not verified by %s", test.kubelet)
				}
			})
		})
	}
}

func TestCompromisedKeysAreDestroyedAfterVerification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		n.distrustOld(certs.Etcd, certs.Kubelet)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Etcd, certs.Kubelet)
		n.noOldKeys()
	})
}

// A process that ends right after the verification has destroyed nothing yet; the next one does.
func TestCompromisedKeysAreDestroyedAlsoAcrossACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		n.distrustOld(certs.Etcd, certs.Kubelet)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		hook := r.hook
		r.hook = func(rec nodeapi.Record) {
			hook(rec)
			if rec.Kind == nodeapi.Committed {
				n.killProcess()
			}
		}
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		if _, err := os.Stat(n.fileState("backup/2")); err != nil {
			t.Fatalf("killed too late to verify anything: %v", err)
		}
		n.dead = false
		e, _ = n.newEngine()
		e.Idle = time.Second
		if err := e.RunOrders(t.Context(), "0ther"); err != nil {
			t.Fatal(err)
		}
		n.noOldKeys()
	})
}

// distrustOld orders a rotation of compromised keys.
func (n *fakeNode) distrustOld(services ...certs.Service) {
	n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: n.planStep(plan.RestartAlways, services...), Restart: plan.RestartAlways, Compromised: true})
}

// noOldKeys fails where an old key is still on the node.
func (n *fakeNode) noOldKeys() {
	n.t.Helper()
	if _, err := os.Stat(n.fileState("backup/2")); !errors.Is(err, fs.ErrNotExist) {
		n.t.Errorf("the backup of compromised keys is still there: %v", err)
	}
	if _, err := os.Stat(n.tree.Local(n.tree.KubeletCurrent)); !errors.Is(err, fs.ErrNotExist) {
		n.t.Errorf("the kubelet's old key is still there: %v", err)
	}
}

func TestAnExpiredClusterCanBeRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.rejects = func(c inventory.Certificate, leaf *x509.Certificate) error {
			if n.all[certs.KubeAPIServer].id == 1 { // until it runs on its new certificate
				return errors.New("connection refused")
			}
			return nil
		}
		n.unhealthy[certs.KubeAPIServer] = true
		n.onStop = func(s certs.Service) { n.unhealthy[s] = false }
		r := rotateAll(n, plan.RestartAlways)
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("records: %s: %s", r.kindsText(), r.lastRecord().Message)
		}
		n.isAll(true)
	})
}
