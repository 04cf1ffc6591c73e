package rotate

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestRestartOfAUnitIsTheRotation is k0s: this program writes no certificate, and verifies the
// new ones as it does its own.
func TestRestartOfAUnitIsTheRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeK0s(t)
		r := k.rotateServices(certs.KubeAPIServer)
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("%s\n%+v", r.kindsText(), r.lastRecord())
		}
		k.isAll(true, ofK0s...)
		k.isAll(false, certs.Kubelet)
		k.noSecrets()
		k.stagedIsEmpty()
		if !slices.Equal(k.started, []certs.Service{k0sUnit}) {
			t.Errorf("restarted: %v, want the unit once", k.started)
		}
		for name, method := range map[string]nodeapi.Method{"apiserver@": nodeapi.Handshake, "etcd-peer@": nodeapi.Handshake,
			"scheduler.conf@": nodeapi.Authenticated, "front-proxy-client@": nodeapi.Authenticated, "admin.conf@": nodeapi.Authenticated} {
			if !r.isVerified(name, method) {
				t.Errorf("%s is not verified by %s", name, method)
			}
		}
		restarted := map[certs.Service]bool{}
		for _, rec := range r.recordsOf(nodeapi.Restarted) {
			restarted[rec.Service] = rec.UnavailableSeconds > 0.5
		}
		if len(restarted) != 5 || !restarted[certs.KubeAPIServer] || !restarted[certs.Kubelet] {
			t.Errorf("recorded as restarted, and unavailable for a time: %v", restarted)
		}
		committed := r.recordsOf(nodeapi.Committed)[0]
		if len(committed.Renewals) != len(owners)-2 {
			t.Errorf("%d renewals", len(committed.Renewals))
		}
		for _, renewal := range committed.Renewals {
			if renewal.New.FingerprintSHA256 == "" || !renewal.New.NotAfter.After(renewal.Old.NotAfter) {
				t.Errorf("%s: %+v", renewal.ID, renewal.New)
			}
		}
		if _, err := os.Stat(k.fileState("backup/2/0")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("a backup of files that cannot be restored: %v", err)
		}
	})
}

// TestNothingIsRestartedThatWouldDoHarm: an obstacle that is found while staging stops the
// rotation before a change.
func TestNothingIsRestartedThatWouldDoHarm(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(k *fakeK0s)
		kind   nodeapi.Kind
		words  string
	}{
		"the CA's key is missing": {func(k *fakeK0s) { _ = os.Remove(k.tree.Local(certstest.PKIDir + "/etcd/ca.key")) }, nodeapi.Failed, "read the key of its CA"},
		"another CA is there": {func(k *fakeK0s) {
			k.tree.WritePair(k.t, certstest.PKIDir+"/ca", certstest.NewCA(k.t, "kubernetes").Pair())
		}, nodeapi.Failed, "did not sign it"},
		"a certificate was changed": {func(k *fakeK0s) { k.renewPair("apiserver") }, nodeapi.Refused, "was changed since the plan was made"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeK0s(t)
				e, r := k.newEngine()
				k.stageServices(nodeapi.Order{}, certs.Etcd)
				tt.change(k)
				r.orderAfter(k.fakeNode, tt.kind, abandon)
				r.orderAfter(k.fakeNode, nodeapi.Staged, abandon)
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				failed := r.recordsOf(tt.kind)
				if len(failed) != 1 || !strings.Contains(failed[0].Message, tt.words) || len(k.started) > 0 {
					t.Errorf("%s, restarted %v: %+v", r.kindsText(), k.started, failed)
				}
			})
		})
	}
}

// TestSuccessorMayExpireBeforeItsPredecessor: the distribution's settings decide its validity,
// and may have changed.
func TestSuccessorMayExpireBeforeItsPredecessor(t *testing.T) {
	shorter := []certstest.Option{certstest.Valid(certstest.Now.Add(-time.Hour), certstest.Now.AddDate(0, 1, 0))}
	for name, rotate := range map[string]func(t *testing.T) *records{
		"a restart": func(t *testing.T) *records {
			k := newFakeK0s(t)
			k.validity = shorter
			return k.rotateServices(ofK0s...)
		},
		"a command": func(t *testing.T) *records {
			k := newFakeRKE2(t)
			k.validity = shorter
			return k.rotateServices(nodeapi.Order{}, ofK0s...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rotate(t)
				if len(r.recordsOf(nodeapi.Committed)) != 1 || !r.isVerified("etcd-server@", nodeapi.Handshake) {
					t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
				}
				for _, renewal := range r.recordsOf(nodeapi.Committed)[0].Renewals {
					if !renewal.New.NotAfter.Before(renewal.Old.NotAfter) {
						t.Errorf("%s: the test has made a longer one", renewal.ID)
					}
				}
			})
		})
	}
}

// TestRestartThatDoesNotRenewIsReported: the restart cannot be undone. It is RolledBack only
// if everything is old and verified, otherwise Unknown with the findings.
func TestRestartThatDoesNotRenewIsReported(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(k *fakeK0s)
		kind   nodeapi.Kind
		words  string
	}{
		"no certificate is new": {func(k *fakeK0s) {
			for name := range owners {
				k.keeps[name] = true
			}
		}, nodeapi.RolledBack, "no certificate was renewed, and the old ones are verified"},
		"one is not new":       {func(k *fakeK0s) { k.keeps["etcd-peer"] = true }, nodeapi.Unknown, "9 of 10 certificates are new, not etcd-peer"},
		"a new CA signed them": {func(k *fakeK0s) { k.ca = certstest.NewCA(k.t, "kubernetes") }, nodeapi.Unknown, "was signed by another CA"},
		"they have expired": {func(k *fakeK0s) {
			k.validity = []certstest.Option{certstest.Valid(certstest.Now.Add(-time.Hour), certstest.Now.Add(-time.Minute))}
		}, nodeapi.Unknown, "it is valid from"},
		"one component cannot start":  {func(k *fakeK0s) { k.breaks[certs.KubeScheduler] = true }, nodeapi.Unknown, "kube-scheduler does not run"},
		"one is not healthy":          {func(k *fakeK0s) { k.onStop = func(certs.Service) { k.unhealthy[certs.Etcd] = true } }, nodeapi.Unknown, "etcd did not become healthy"},
		"one still serves the old":    {func(k *fakeK0s) { k.keepsOld[certs.KubeAPIServer] = true }, nodeapi.Unknown, "does not serve the new certificate of apiserver"},
		"an old process is left over": {func(k *fakeK0s) { k.orphans[certs.KubeControllerManager] = true }, nodeapi.Unknown, "kube-controller-manager is still process"},
		"the unit does not start":     {func(k *fakeK0s) { k.dies = true }, nodeapi.Unknown, "k0scontroller.service did not start again"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := newFakeK0s(t)
				tt.change(k)
				r := k.rotateServices(ofK0s...)
				ended := r.recordsOf(tt.kind)
				if len(ended) != 1 || !strings.Contains(ended[0].Message, tt.words) {
					t.Fatalf("%s\n%+v", r.kindsText(), r.all[len(r.all)-2])
				}
				if tt.kind == nodeapi.Unknown && !strings.Contains(ended[0].Hint, "journalctl -u k0scontroller.service") {
					t.Errorf("hint %q", ended[0].Hint)
				}
				if len(r.recordsOf(nodeapi.RollingBack)) > 0 || len(k.started) != 1 {
					t.Errorf("something was tried that cannot help: %s, %v", r.kindsText(), k.started)
				}
				k.stagedIsEmpty()
			})
		})
	}
}

// TestExpiredNodeIsRenewedByARestart: nothing is healthy before, and all of it must be after.
func TestExpiredNodeIsRenewedByARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeK0s(t)
		k.unhealthy[certs.KubeAPIServer] = true
		k.onStop = func(certs.Service) { k.unhealthy[certs.KubeAPIServer] = false }
		if r := k.rotateServices(ofK0s...); r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("%s\n%+v", r.kindsText(), r.lastRecord())
		}
	})
}

// TestUnitRestartKilledAtEveryRecord: the next process finds out whether the restart happened,
// by the unit and by the files, and never restarts anything for it.
func TestUnitRestartKilledAtEveryRecord(t *testing.T) {
	killAtEveryRecord(t, newFakeK0s, func(k *fakeK0s) *fakeNode { return k.fakeNode },
		func(k *fakeK0s) int { return len(k.started) }, func(k *fakeK0s, renewed bool) { k.isAll(renewed, ofK0s...) })
}

// TestRestartInProgressIsAwaited: the process ends while k0s, asked to restart, takes long to
// exit. The next process must not take the old certificates for the result.
func TestRestartInProgressIsAwaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeK0s(t)
		k.stops = 80 * time.Second
		k.onStop = func(certs.Service) { k.killProcessLocked() }
		r := k.commitKilled(k, certs.Etcd)
		k.isAll(true, ofK0s...)
		if len(r.recordsOf(nodeapi.Committed)) != 1 || len(k.started) != 1 {
			t.Errorf("%s, restarted %v", r.kindsText(), k.started)
		}
	})
}

// TestCompromisedKeysAreDestroyedAfterARestart: k0s makes new keys, and nothing keeps the old ones.
func TestCompromisedKeysAreDestroyedAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeK0s(t)
		before := map[string]bool{}
		for name, s := range owners {
			if s != certs.Kubelet {
				before[string(k.readStore(name).LeafCert().RawSubjectPublicKeyInfo)] = true
			}
		}
		e, r := k.newEngine()
		k.stageServices(nodeapi.Order{Compromised: true}, ofK0s...)
		r.orderAfter(k.fakeNode, nodeapi.Staged, commitOrder)
		r.orderAfter(k.fakeNode, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		for name, s := range owners {
			if s != certs.Kubelet && before[string(k.readStore(name).LeafCert().RawSubjectPublicKeyInfo)] {
				t.Errorf("%s has its old key", name)
			}
		}
		if left, err := os.ReadDir(k.fileState("backup")); err != nil || len(left) > 0 {
			t.Errorf("left of the backup: %v, %v", left, err)
		}
	})
}

// TestRestartOfAUnitIsACommitOfItsOwn: a node refuses such an order.
func TestRestartOfAUnitIsACommitOfItsOwn(t *testing.T) {
	local := inventory.Certificate{Name: "kube-proxy.conf", Issuer: inventory.Issuer{Kind: inventory.LocalCA}}
	made := inventory.Certificate{Name: "apiserver", Issuer: inventory.Issuer{Kind: inventory.UnitStart, Unit: k0sUnit}}
	for name, tt := range map[string]struct {
		planned string
		found   []inventory.Certificate
	}{
		"both": {k0sUnit, []inventory.Certificate{made, local}}, "no unit was planned": {"", []inventory.Certificate{made}},
		"nothing": {k0sUnit, nil}, "another unit": {"k0sworker.service", []inventory.Certificate{made}},
	} {
		var refused *refusal
		if _, err := renewingUnit(&plan.Step{RestartUnit: tt.planned}, tt.found); !errors.As(err, &refused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
