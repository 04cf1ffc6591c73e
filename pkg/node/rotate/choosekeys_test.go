package rotate

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const apiserverKey = certstest.PKIDir + "/apiserver.key"

// shareKey has etcd's server certificate use the API server's key file.
func (n *fakeNode) shareKey() {
	n.t.Helper()
	shared := n.tree.EtcdCA.Leaf(n.t, certstest.Name("cp1"), certstest.SANs("cp1"), certstest.OfKey(n.tree.Pairs["apiserver"].Key))
	n.tree.Write(n.t, certstest.PKIDir+"/etcd/server.crt", shared.CertPEM(), 0o644)
	n.tree.Stores["etcd-server"] = inventory.Store{Kind: inventory.Pair, Cert: certstest.PKIDir + "/etcd/server.crt", Key: apiserverKey}
	n.original["etcd-server"] = certs.Fingerprint(shared.Leaf())
	n.mu.Lock()
	defer n.mu.Unlock()
	n.launchService(certs.Etcd)
}

func (n *fakeNode) readFile(path string) []byte {
	n.t.Helper()
	data, err := os.ReadFile(n.tree.Local(path))
	if err != nil {
		n.t.Fatal(err)
	}
	return data
}

func TestCertificatesOfOneKeyFileGetOneNewKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.shareKey()
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.Etcd, certs.KubeAPIServer)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("records: %s, %+v", r.kindsText(), r.lastRecord())
		}
		n.isAll(true, certs.Etcd, certs.KubeAPIServer)
		if !n.readStore("apiserver").Key.FitsCert(n.readStore("etcd-server").LeafCert()) {
			t.Error("they have keys of their own")
		}
		if n.tree.Pairs["apiserver"].Key.FitsCert(n.readStore("apiserver").LeafCert()) {
			t.Error("the key is the old one")
		}
	})
}

// TestCertificatesOfOneKeyFileAreRolledBackTogether: one that fails takes the other along.
func TestCertificatesOfOneKeyFileAreRolledBackTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.shareKey()
		before := n.takeSnapshot()
		n.breaks[certs.KubeAPIServer] = true
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.Etcd, certs.KubeAPIServer)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.RolledBack, abandon)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if len(r.recordsOf(nodeapi.RolledBack)) != 1 {
			t.Fatalf("records: %s", r.kindsText())
		}
		n.isAll(false, certs.Etcd, certs.KubeAPIServer)
		n.sameAs(before)
	})
}

func TestHalfOfAKeyFileIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.shareKey()
		before := n.takeSnapshot()
		e, r := n.newEngine()
		step := n.planStep(plan.RestartAlways, certs.Etcd)
		step.Targets = slices.DeleteFunc(step.Targets, func(t plan.Target) bool { return t.Name == "apiserver" })
		n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: step, Restart: plan.RestartAlways, Scope: "test", StartTime: n.clock()})
		r.orderAfter(n, nodeapi.Refused, abandon)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if refused := r.recordsOf(nodeapi.Refused); len(refused) != 1 || !strings.Contains(refused[0].Message, apiserverKey) {
			t.Errorf("records: %s, %+v", r.kindsText(), refused)
		}
		n.sameAs(before)
	})
}

// TestAKeyWithAnotherUseIsKept: the certificate is new, the key is the old one, byte by byte,
// and the record names the use.
func TestAKeyWithAnotherUseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.keyUses = map[string][]inventory.KeyUse{"apiserver": {{Kind: inventory.ServiceAccountKey, Service: certs.KubeAPIServer, Setting: "--service-account-key-file", Path: apiserverKey}}}
		key := n.readFile(apiserverKey)
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.KubeAPIServer)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Fatalf("records: %s, %+v", r.kindsText(), r.lastRecord())
		}
		n.isAll(true, certs.KubeAPIServer)
		if !bytes.Equal(key, n.readFile(apiserverKey)) {
			t.Error("the key's file was changed")
		}
		for _, renewal := range r.recordsOf(nodeapi.Committed)[0].Renewals {
			if kept := strings.Contains(renewal.ID, "/apiserver@"); kept != strings.Contains(renewal.KeptKey, "ServiceAccount tokens (--service-account-key-file of kube-apiserver)") {
				t.Errorf("%s: key kept: %q", renewal.ID, renewal.KeptKey)
			}
		}
		for _, other := range []string{"apiserver-etcd-client", "front-proxy-client"} {
			if n.tree.Pairs[other].Key.FitsCert(n.readStore(other).LeafCert()) {
				t.Errorf("%s has its old key", other)
			}
		}
	})
}

// TestACompromisedKeyThatMustStayIsRefused before anything is changed: the key must not count
// as replaced.
func TestACompromisedKeyThatMustStayIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		step := n.planStep(plan.RestartAlways, certs.KubeAPIServer)
		n.keyUses = map[string][]inventory.KeyUse{"apiserver": {{Kind: inventory.ServiceAccountKey, Service: certs.KubeAPIServer, Setting: "--service-account-key-file", Path: apiserverKey}}}
		before := n.takeSnapshot()
		e, r := n.newEngine()
		n.putOrder(nodeapi.Order{Kind: nodeapi.OrderStage, Step: step, Restart: plan.RestartAlways, Scope: "test", StartTime: n.clock(), Compromised: true})
		r.orderAfter(n, nodeapi.Refused, abandon)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if refused := r.recordsOf(nodeapi.Refused); len(refused) != 1 || !strings.Contains(refused[0].Message, "ServiceAccount tokens") {
			t.Errorf("records: %s, %+v", r.kindsText(), refused)
		}
		n.sameAs(before)
	})
}

// TestTheKubeletAsksForALifeAsBefore, since a signer would give its own else.
func TestTheKubeletAsksForALifeAsBefore(t *testing.T) {
	const hour, day = 3600, 24 * 3600
	p := certstest.NewCA(t, "ca").Leaf(t)
	for _, test := range []struct{ life, asked, want int64 }{
		{365 * day, 0, 365 * day}, {30 * day, 0, 30 * day}, {8 * hour, 0, 8 * hour},
		{hour, 0, hour - 300}, {600, 0, 600}, {0, 0, 0}, {365 * day, 90 * day, 90 * day},
	} {
		c := inventory.Certificate{LifeSeconds: test.life, Issuer: inventory.Issuer{Signer: servingSigner}}
		csr, err := newCSR(c, store.Content{Chain: p.Chain, Key: p.Key}, p.Key, statedir.Order{Order: nodeapi.Order{ValiditySeconds: test.asked}})
		if err != nil {
			t.Fatal(err)
		}
		if int64(csr.ExpirationSeconds) != test.want {
			t.Errorf("of %d seconds, asked %d: %d, want %d", test.life, test.asked, csr.ExpirationSeconds, test.want)
		}
	}
}
