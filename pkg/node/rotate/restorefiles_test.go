package rotate

import (
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// interruptCommit is a node on which the process died when every file of some services was
// new and nothing was restarted yet.
func (n *fakeNode) interruptCommit(services ...certs.Service) {
	n.t.Helper()
	n.stageServices(plan.RestartAlways, services...)
	e, r := n.newEngine()
	n.killAt(r, 4) // Replaced
	r.orderAfter(n, nodeapi.Staged, commitOrder)
	if err := runOrders(n.t, n.t.Context(), e); !errors.Is(err, errKilled) {
		n.t.Fatal(err)
	}
	n.dead = false
}

// renewEtcd replaces etcd's serving pair as a person does with the CA's key.
func (n *fakeNode) renewEtcd(name string, options ...certstest.Option) string {
	n.t.Helper()
	p := n.tree.EtcdCA.Leaf(n.t, append([]certstest.Option{certstest.Name("cp1"), certstest.SANs("cp1"),
		certstest.Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)}, options...)...)
	n.tree.WritePair(n.t, certstest.PKIDir+"/etcd/"+strings.TrimPrefix(name, "etcd-"), p)
	return certs.Fingerprint(p.Leaf())
}

// launchAll starts every component again, as a boot does.
func (n *fakeNode) launchAll() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for s := range n.all {
		n.launchService(s)
	}
}

// nodeRotation is how the only rotation stands on the node.
func (n *fakeNode) nodeRotation() inventory.NodeRotation {
	n.t.Helper()
	history, _, err := statedir.ReadHistory(n.tree.Root)
	if err != nil || len(history) != 1 {
		n.t.Fatalf("history %+v, %v", history, err)
	}
	return history[0]
}

// Weeks after a crash, recovery leaves the certificate that a person has put in place
// since, puts back the others, and is done: nothing is undone again.
func TestRecoveryKeepsRepairedCertificates(t *testing.T) {
	for name, boot := range map[string]bool{"at boot": true, "by the next process": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.interruptCommit(certs.Etcd)
				repaired := n.renewEtcd("etcd-server")
				time.Sleep(6 * 7 * 24 * time.Hour)
				if !boot {
					n.launchAll() // on the certificate that the operator has written
				}
				e, _ := n.newEngine()
				undone, err := e.RecoverNode(t.Context(), boot)
				if err != nil || len(undone) != 1 {
					t.Fatalf("%+v, %v", undone, err)
				}
				if got := certs.Fingerprint(n.onDisk("etcd-server")); got != repaired {
					t.Errorf("etcd-server is %.8s, want the repaired %.8s", got, repaired)
				}
				for _, other := range []string{"etcd-peer", "etcd-healthcheck-client"} {
					if got := certs.Fingerprint(n.onDisk(other)); got != n.original[other] {
						t.Errorf("%s was not restored", other)
					}
				}
				if rec := undone[0]; !strings.Contains(rec.Message, "etcd-server changed by another program since") || rec.Hint == "" {
					t.Errorf("message %q, hint %q", rec.Message, rec.Hint)
				}
				if got := n.nodeRotation(); got.State != inventory.RolledBack || got.Unverified != boot {
					t.Errorf("the rotation stands as %s, unverified %v", got.State, got.Unverified)
				}
				n.launchAll()
				if _, err := e.RecoverNode(t.Context(), false); err != nil {
					t.Fatal(err)
				}
				if n.nodeRotation().Unverified {
					t.Error("the next process did not verify it")
				}
				if got := certs.Fingerprint(n.onDisk("etcd-server")); got != repaired {
					t.Error("it was undone once more")
				}
			})
		})
	}
}

// A kubelet that has rotated its certificate since the crash keeps it, with its link and its
// dated file.
func TestRecoveryKeepsCertificatesThatTheKubeletRotated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.interruptCommit(certs.Kubelet)
		p := n.tree.CA.Leaf(t, certstest.Name("system:node:cp1", "system:nodes"))
		dated := certstest.KubeletDir + "/kubelet-client-2030-01-02-03-04-05.pem"
		n.tree.Write(t, dated, append(p.CertPEM(), p.KeyPEM(t)...), 0o600)
		n.turnLink(dated)
		e, _ := n.newEngine()
		if _, err := e.RecoverNode(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if got := certs.Fingerprint(n.onDisk("kubelet-client")); got != certs.Fingerprint(p.Leaf()) {
			t.Error("the kubelet's own new certificate is not in use any more")
		}
		if got := certs.Fingerprint(n.onDisk("kubelet-server")); got != n.original["kubelet-server"] {
			t.Error("its serving certificate was not restored")
		}
	})
}

// Turning the link back removes the file that the rotation made, and none of the
// kubelet's.
func TestRecoveryDeletesOnlyItsOwnDatedFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.interruptCommit(certs.Kubelet)
		made, err := os.Readlink(n.tree.Local(certstest.KubeletDir + "/kubelet-client-current.pem"))
		if err != nil {
			t.Fatal(err)
		}
		p := n.tree.CA.Leaf(t, certstest.Name("system:node:cp1", "system:nodes"))
		dated := certstest.KubeletDir + "/kubelet-client-2030-01-02-03-04-05.pem"
		n.tree.Write(t, dated, append(p.CertPEM(), p.KeyPEM(t)...), 0o600)
		e, _ := n.newEngine()
		if _, err := e.RecoverNode(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		if got := certs.Fingerprint(n.onDisk("kubelet-client")); got != n.original["kubelet-client"] {
			t.Error("the link was not turned back")
		}
		if _, err := os.Stat(n.tree.Local(dated)); err != nil {
			t.Errorf("the kubelet's file: %v", err)
		}
		if _, err := os.Stat(n.tree.Local(made)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the rotation's own file: %v", err)
		}
	})
}

func (n *fakeNode) turnLink(target string) {
	n.t.Helper()
	link := n.tree.Local(certstest.KubeletDir + "/kubelet-client-current.pem")
	if err := errors.Join(os.Remove(link), os.Symlink(target, link)); err != nil {
		n.t.Fatal(err)
	}
}

// A mix of old and new files is restored: no component can start on it.
func TestRecoveryRestoresAMixedPair(t *testing.T) {
	for name, tear := range map[string]func(t *testing.T, n *fakeNode, path string, old certstest.Pair){
		"old certificate, new key": func(t *testing.T, n *fakeNode, path string, old certstest.Pair) {
			n.tree.Write(t, path+".crt", old.CertPEM(), 0o644)
		},
		"new certificate, old key": func(t *testing.T, n *fakeNode, path string, old certstest.Pair) {
			n.tree.Write(t, path+".key", old.KeyPEM(t), 0o600)
		},
		"an empty certificate": func(t *testing.T, n *fakeNode, path string, _ certstest.Pair) {
			n.tree.Write(t, path+".crt", nil, 0o644)
		},
		"no key": func(t *testing.T, n *fakeNode, path string, _ certstest.Pair) {
			if err := os.Remove(n.tree.Local(path + ".key")); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				before := n.takeSnapshot()
				n.interruptCommit(certs.Etcd)
				tear(t, n, certstest.PKIDir+"/etcd/server", n.tree.Pairs["etcd-server"])
				e, _ := n.newEngine()
				if _, err := e.RecoverNode(t.Context(), true); err != nil {
					t.Fatal(err)
				}
				n.sameAs(before)
			})
		})
	}
}

// The operator's changes in a kubeconfig around the certificate are kept.
func TestRecoveryKeepsTheRestOfAKubeconfig(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		path := n.tree.Local("/etc/kubernetes/scheduler.conf")
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n.interruptCommit(certs.KubeScheduler)
		now, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		edit := strings.NewReplacer("https://10.0.0.11:6443", "https://vip.example.com:6443")
		if edit.Replace(string(now)) == string(now) {
			t.Fatal("the kubeconfig is not what this test thinks it is")
		}
		if err := os.WriteFile(path, []byte(edit.Replace(string(now))), 0o600); err != nil {
			t.Fatal(err)
		}
		e, _ := n.newEngine()
		if _, err := e.RecoverNode(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		after, err := os.ReadFile(path)
		if err != nil || string(after) != edit.Replace(string(before)) {
			t.Errorf("the old certificate beside the edited server was expected, %v:\n%s", err, after)
		}
	})
}

// An expired certificate is never put back over a valid one: the new ones stay, unverified
// at first, and are verified by the next process.
func TestRecoveryKeepsNewWhereOldHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.expireEtcd(certstest.Now.Add(24 * time.Hour))
		n.interruptCommit(certs.Etcd)
		after := n.takeSnapshot()
		time.Sleep(3 * 24 * time.Hour)
		e, _ := n.newEngine()
		undone, err := e.RecoverNode(t.Context(), true)
		if err != nil || len(undone) != 1 {
			t.Fatalf("%+v, %v", undone, err)
		}
		n.sameAs(after)
		got := n.nodeRotation()
		if got.State != inventory.Committed || !got.Unverified || len(got.Renewed) != 3 {
			t.Errorf("the rotation stands as %s, unverified %v, %d renewed", got.State, got.Unverified, len(got.Renewed))
		}
		n.launchAll()
		if _, err := e.RecoverNode(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if got := n.nodeRotation(); got.State != inventory.Committed || got.Unverified {
			t.Errorf("after the next process it stands as %s, unverified %v", got.State, got.Unverified)
		}
		n.sameAs(after)
		n.isAll(true, certs.Etcd)
	})
}

// A clock that was reset by a boot does not make an expired certificate valid again.
func TestRecoveryDoesNotTrustAClockFromBeforeTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.expireEtcd(certstest.Now.Add(-time.Hour))
		n.interruptCommit(certs.Etcd)
		after := n.takeSnapshot()
		e, _ := n.newEngine()
		e.Now = func() time.Time { return time.Unix(0, 0) }
		if _, err := e.RecoverNode(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		n.sameAs(after)
	})
}

// Where only some have expired, each has its own end, and nothing is called all new.
func TestRecoveryDecidesForEveryCertificate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.expireEtcd(certstest.Now.Add(24 * time.Hour))
		n.interruptCommit(certs.Etcd, certs.KubeScheduler)
		time.Sleep(3 * 24 * time.Hour)
		e, _ := n.newEngine()
		if _, err := e.RecoverNode(t.Context(), true); err != nil {
			t.Fatal(err)
		}
		for name, isNew := range map[string]bool{"etcd-server": true, "etcd-peer": true, "scheduler.conf": false} {
			if got := certs.Fingerprint(n.onDisk(name)) != n.original[name]; got != isNew {
				t.Errorf("%s is new: %v, want %v", name, got, isNew)
			}
		}
		if got := n.nodeRotation(); got.State != inventory.RolledBack || !got.Unverified {
			t.Errorf("the rotation stands as %s, unverified %v", got.State, got.Unverified)
		}
	})
}

// expireEtcd gives etcd's certificates another end.
func (n *fakeNode) expireEtcd(at time.Time) {
	n.t.Helper()
	for name, options := range map[string][]certstest.Option{
		"etcd-server": nil, "etcd-peer": nil, "etcd-healthcheck-client": {certstest.Usages(x509.ExtKeyUsageClientAuth)},
	} {
		n.original[name] = n.renewEtcd(name, append(options, certstest.Valid(at.Add(-365*24*time.Hour), at))...)
	}
	n.launchAll()
}

// One of several etcd members whose certificates have all expired cannot become healthy without
// the others. Its new certificates stay, since the old ones have expired, and the error names
// the next step.
func TestExpiredMemberKeepsItsNewCertificates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.expireEtcd(certstest.Now.Add(-time.Hour))
		n.unhealthy[certs.Etcd] = true
		e, _ := n.newEngine()
		e.Alone = true
		err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways})
		if !errors.Is(err, ErrNotVerified) || errors.Is(err, ErrAsBefore) || !strings.Contains(hint.TextOf(err), "other control-plane nodes") {
			t.Fatalf("error: %v", err)
		}
		n.isAll(true, certs.Etcd)
		if got := n.nodeRotation(); got.State != inventory.Committed || !got.Unverified {
			t.Errorf("the rotation stands as %s, unverified %v", got.State, got.Unverified)
		}
		n.unhealthy[certs.Etcd] = false // the other members have come back
		if _, err := e.RecoverNode(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if n.nodeRotation().Unverified {
			t.Error("it is not verified now")
		}
	})
}
