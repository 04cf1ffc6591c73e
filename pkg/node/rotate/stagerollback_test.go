package rotate

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// rollBackByHand rolls a rotation back as "rotate-certs-node rollback" does.
func (n *fakeNode) rollBackByHand(id string) (*records, error) {
	n.t.Helper()
	e, r := n.newEngine()
	var left []plan.LeftOut
	e.LeftOut = func(l []plan.LeftOut) { left = l }
	err := e.RotateByHand(n.t.Context(), plan.Request{Services: certs.Services(), Restart: plan.RestartAlways, RollbackOf: id})
	for _, l := range left {
		err = errors.Join(err, errors.New(l.String()))
	}
	return r, err
}

// newestRotation is the newest one in the node's journals.
func (n *fakeNode) newestRotation() inventory.NodeRotation {
	n.t.Helper()
	history, _, err := statedir.ReadHistory(n.tree.Root)
	if err != nil || len(history) == 0 {
		n.t.Fatalf("history %+v, %v", history, err)
	}
	return history[0]
}

func TestRollbackPutsTheOldCertificatesBackAndVerifiesThem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		keys := map[string]certs.Key{}
		for name := range owners {
			keys[name] = n.readStore(name).Key
		}
		rotateAll(n, plan.RestartAlways)
		n.isAll(true)
		time.Sleep(time.Minute)
		r, err := n.rollBackByHand(rotationID)
		if err != nil {
			t.Fatal(err)
		}
		n.isAll(false)
		n.noSecrets()
		n.stagedIsEmpty()
		for name := range owners {
			if !keys[name].FitsCert(n.readStore(name).LeafCert()) {
				t.Errorf("%s: the old certificate does not have its old key", name)
			}
		}
		if got := r.lastRecord().Kind; got != nodeapi.Finished {
			t.Errorf("ends with %s: %s", got, r.lastRecord().Message)
		}
		for _, name := range []string{"apiserver@", "etcd-peer@", "kubelet-server@"} {
			if !r.isVerified(name, nodeapi.Handshake) {
				t.Errorf("%s is not verified by a handshake", name)
			}
		}
		if got := n.newestRotation(); got.Scope != "rollback="+rotationID || got.State != inventory.Finished || len(got.Renewed) != len(owners) {
			t.Errorf("the rollback in the history: %+v", got)
		}
	})
}

func TestARollbackCanBeRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		rotateAll(n, plan.RestartAlways, certs.Etcd, certs.Kubelet)
		renewed := map[string]string{}
		for _, name := range []string{"etcd-server", "etcd-peer", "kubelet-client"} {
			renewed[name] = certs.Fingerprint(n.onDisk(name))
		}
		time.Sleep(time.Minute)
		if _, err := n.rollBackByHand(rotationID); err != nil {
			t.Fatal(err)
		}
		n.isAll(false)
		time.Sleep(time.Minute)
		if _, err := n.rollBackByHand(n.newestRotation().ID); err != nil {
			t.Fatal(err)
		}
		for name, want := range renewed {
			if got := certs.Fingerprint(n.onDisk(name)); got != want {
				t.Errorf("%s is %.12s, want the renewed one, %.12s", name, got, want)
			}
		}
	})
}

// A service that cannot run on its earlier certificate keeps the present one.
func TestARollbackThatCannotBeVerifiedIsUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		rotateAll(n, plan.RestartAlways, certs.Etcd)
		for name, s := range owners {
			if s == certs.Etcd {
				n.original[name] = certs.Fingerprint(n.onDisk(name)) // what it can start with
			}
		}
		n.breaks[certs.Etcd] = true
		before := n.takeSnapshot()
		time.Sleep(time.Minute)
		r, err := n.rollBackByHand(rotationID)
		if !errors.Is(err, ErrRolledBack) {
			t.Fatalf("error %v, want %v; records: %s", err, ErrRolledBack, r.kindsText())
		}
		n.sameAs(before)
		if got := n.newestRotation(); got.State != inventory.RolledBack || got.Unverified {
			t.Errorf("the rollback in the history: %+v", got)
		}
	})
}

func TestWhatCannotBeRolledBackIsNamedAndNothingChanges(t *testing.T) {
	backups := func(n *fakeNode) string {
		local, err := n.tree.Root.LocalPath(filepath.Join(statedir.HostPath, "rotations", rotationID, "backup"))
		if err != nil {
			n.t.Fatal(err)
		}
		return local
	}
	tests := map[string]struct {
		id     string
		change func(*testing.T, *fakeNode)
		want   string
	}{
		"unknown rotation": {id: "000000", want: "no node in scope has it in its journal"},
		"old certificate has expired": {change: func(*testing.T, *fakeNode) {
			time.Sleep(2 * 365 * 24 * time.Hour)
		}, want: "the certificate from before rotation 7f3c2a expired "},
		"no backup": {change: func(t *testing.T, n *fakeNode) {
			if err := os.RemoveAll(backups(n)); err != nil {
				t.Fatal(err)
			}
		}, want: "the node no longer keeps the files that rotation 7f3c2a has replaced"},
		"damaged backup": {change: func(t *testing.T, n *fakeNode) {
			files, _ := filepath.Glob(filepath.Join(backups(n), "*", "*", "0.saved"))
			for _, f := range files {
				if err := os.WriteFile(f, []byte("damaged"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, want: "is damaged"},
		"renewed since by another rotation": {change: func(t *testing.T, n *fakeNode) {
			e, _ := n.newEngine()
			if err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{certs.KubeScheduler}, Restart: plan.RestartAlways}); err != nil {
				t.Fatal(err)
			}
		}, want: "has replaced it since: roll that one back first"},
		"replaced since by another program": {change: func(t *testing.T, n *fakeNode) {
			p := certstest.NewCA(t, "kubernetes").Leaf(t)
			if err := store.ReplaceStore(n.tree.Root, n.tree.Stores["scheduler.conf"], store.Material{Chain: p.Chain, Key: p.Key}); err != nil {
				t.Fatal(err)
			}
		}, want: "another program has replaced it since rotation 7f3c2a"},
		"CA replaced since": {change: func(t *testing.T, n *fakeNode) {
			ca := certstest.NewCA(t, "kubernetes")
			n.tree.Write(t, certstest.PKIDir+"/ca.crt", ca.Pair().CertPEM(), 0o644)
		}, want: "did not sign the earlier certificate"},
		"rejected by its server": {change: func(_ *testing.T, n *fakeNode) {
			n.rejects = func(c inventory.Certificate, leaf *x509.Certificate) error {
				if certs.Fingerprint(leaf) == n.original[c.Name] {
					return component.ErrRejected
				}
				return nil
			}
		}, want: "rejects the earlier certificate and accepts the present one"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				rotateAll(n, plan.RestartAlways, certs.KubeScheduler)
				time.Sleep(time.Minute)
				if test.change != nil {
					test.change(t, n)
				}
				before := n.takeSnapshot()
				started := len(n.started)
				id := test.id
				if id == "" {
					id = rotationID
				}
				_, err := n.rollBackByHand(id)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("error %v, want %q", err, test.want)
				}
				n.sameAs(before)
				if len(n.started) > started {
					t.Errorf("restarted: %v", n.started[started:])
				}
			})
		})
	}
}

func TestARotationOfCompromisedKeysIsNotRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		req := plan.Request{Services: []certs.Service{certs.KubeScheduler}, Compromised: true}
		n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: n.planStep(plan.RestartAlways, certs.KubeScheduler), Restart: plan.RestartAlways,
			Compromised: true, Scope: req.ScopeText(), StartTime: n.clock()})
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		before := n.takeSnapshot()
		_, err := n.rollBackByHand(rotationID)
		var refused *plan.RollbackError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), "compromised") {
			t.Errorf("error %v, want that its keys were compromised", err)
		}
		n.sameAs(before)
	})
}

// The oldest rotation that a node keeps must not be forgotten because its rollback begins.
func TestTheOldestKeptRotationCanBeRolledBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		rotateAll(n, plan.RestartAlways, certs.KubeScheduler)
		for _, s := range []certs.Service{certs.KubeControllerManager, certs.Etcd} {
			time.Sleep(time.Minute)
			e, _ := n.newEngine()
			if err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{s}, Restart: plan.RestartAlways}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		if _, err := n.rollBackByHand(rotationID); err != nil {
			t.Fatal(err)
		}
		n.isAll(false, certs.KubeScheduler)
		n.isAll(true, certs.KubeControllerManager, certs.Etcd)
		history, _, err := statedir.ReadHistory(n.tree.Root)
		if err != nil || len(history) < statedir.Kept || slices.ContainsFunc(history[:statedir.Kept], func(r inventory.NodeRotation) bool { return !r.Backup }) {
			t.Errorf("the last %d rotations have no backup: %+v, %v", statedir.Kept, history, err)
		}
	})
}

// A process killed at any record of a rollback leaves all certificates of the rotation, or all
// those from before.
func TestARollbackKilledAtEveryRecord(t *testing.T) {
	services := []certs.Service{certs.Etcd, certs.KubeScheduler, certs.Kubelet}
	survived := 0
	for count := 1; ; count++ {
		ended := false
		synctest.Test(t, func(t *testing.T) {
			n := newFakeNode(t)
			rotateAll(n, plan.RestartAlways, services...)
			time.Sleep(time.Minute)
			e, r := n.newEngine()
			n.killAt(r, count)
			killed := errKilled
			done := make(chan struct{})
			go func() {
				defer close(done)
				killed = e.RotateByHand(t.Context(), plan.Request{Services: certs.Services(), Restart: plan.RestartAlways, RollbackOf: rotationID})
			}()
			<-done
			if !errors.Is(killed, errKilled) {
				if killed != nil {
					t.Fatal(killed)
				}
				ended = true
				return
			}
			committed := len(r.recordsOf(nodeapi.Committed)) > 0
			synctest.Wait()
			n.dead = false
			time.Sleep(5 * time.Second)
			e, _ = n.newEngine()
			undone, err := e.RecoverNode(t.Context(), false)
			if err != nil {
				t.Fatalf("killed at record %d: %v", count, err)
			}
			n.isAll(!committed, services...)
			for _, rec := range undone {
				if rec.Kind != nodeapi.RolledBack {
					t.Errorf("killed at record %d: recovery ends with %s: %s", count, rec.Kind, rec.Message)
				}
			}
			survived++
		})
		if ended || t.Failed() {
			break
		}
	}
	if survived < 20 {
		t.Errorf("killed only %d times: the rollback is not what this test thinks it is", survived)
	}
}
