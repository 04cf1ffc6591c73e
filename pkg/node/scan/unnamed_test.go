package scan

import (
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func uninspectedPaths(n inventory.Node) []string {
	var out []string
	for _, x := range n.NotInspected {
		out = append(out, x.Path+": "+x.Reason)
	}
	return out
}

func TestUnnamedCertificates(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	client := certstest.Usages(x509.ExtKeyUsageClientAuth)
	n.WritePair(t, pki+"/etcd/jane", n.EtcdCA.Leaf(t, client))                                             // of a user, or of another program
	n.WritePair(t, pki+"/etcd/old-server", n.EtcdCA.Leaf(t, certstest.Usages(x509.ExtKeyUsageServerAuth))) // serves nothing that is known
	n.WritePair(t, pki+"/monitoring", n.CA.Leaf(t, client))
	n.putFile(t, pki+"/lonely.crt", n.CA.Leaf(t).CertPEM()) // without its key it is no one's
	n.putFile(t, pki+"/notes.pem", []byte("not a certificate"))
	n.WritePair(t, pki+"/intermediate", n.CA.Intermediate(t, "team-ca").Pair())
	got := n.scanAt(t, certstest.Now)

	want := []string{"File " + pki + "/etcd/jane.crt", "Backup " + pki + "/etcd/old-server.crt", "File " + pki + "/monitoring.crt"}
	if have := listUnused(got); !slices.Equal(have, want) || len(got.NotInspected) != 0 {
		t.Errorf("unused %q, want %q; not inspected %q", have, want, uninspectedPaths(got))
	}
	if !slices.ContainsFunc(got.Authorities, func(a inventory.Authority) bool { return a.Name == "team-ca" }) {
		t.Error("a CA whose key lies here is not listed")
	}
}

// A damaged file with a certificate's name beside a key must be reported.
func TestDamagedFilesBesideAKeyAreListed(t *testing.T) {
	const cert = certstest.PKIDir + "/etcd/healthcheck-client.crt"
	n := kubeadmNode(t)
	if err := os.Remove(n.Tree.Local(cert)); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(n.Tree.Local(cert), 0o755); err != nil {
		t.Fatal(err)
	}
	have := uninspectedPaths(n.scanAt(t, certstest.Now))
	if len(have) != 1 || !strings.HasPrefix(have[0], cert+": it lies beside a key") {
		t.Errorf("not inspected: %q", have)
	}
}

// TestSigningByAnIntermediate has the API server's certificate below a CA that only
// lies beside the others.
func TestSigningByAnIntermediate(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	inter := n.CA.Intermediate(t, "kubernetes-intermediate")
	n.WritePair(t, pki+"/inter", inter.Pair())
	leaf := inter.Leaf(t)
	n.WritePair(t, pki+"/apiserver", leaf)
	n.served["127.0.0.1:6443"] = leaf.Leaf()
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver")
	want := inventory.Issuer{Kind: inventory.LocalCA, CACert: pki + "/inter.crt", CAKey: pki + "/inter.key"}
	if c.Issuer != want || c.Status != certs.OK {
		t.Errorf("issuer %+v, %s %q", c.Issuer, c.Status, c.Reason)
	}
}

func TestForeignCAIsNoFault(t *testing.T) {
	n := kubeadmNode(t)
	leaf := certstest.NewCA(t, "Public CA").Leaf(t)
	n.WritePair(t, certstest.PKIDir+"/apiserver", leaf)
	n.served["127.0.0.1:6443"] = leaf.Leaf()
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver")
	if c.Status != certs.OK || c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, `"Public CA" is not here`) {
		t.Errorf("issuer %+v, %s %q", c.Issuer, c.Status, c.Reason)
	}
}

// TestComponentsKubeconfigIsNotAdmins loses the scheduler's manifest: its kubeconfig
// must not pass for an administrator's.
func TestComponentsKubeconfigIsNotAdmins(t *testing.T) {
	n := kubeadmNode(t)
	n.putFile(t, "/etc/kubernetes/manifests/kube-scheduler.yaml", []byte("{"))
	got := n.scanAt(t, certstest.Now)
	for _, c := range got.Certificates {
		if c.Name == "scheduler.conf" {
			t.Errorf("listed for %s", c.Service)
		}
	}
	if !slices.ContainsFunc(got.NotInspected, func(x inventory.NotInspected) bool {
		return x.Path == "/etc/kubernetes/scheduler.conf" && strings.Contains(x.Reason, "system:kube-scheduler")
	}) {
		t.Errorf("not inspected: %q", uninspectedPaths(got))
	}
}

func TestHistory(t *testing.T) {
	n := kubeadmNode(t)
	got := TakeInventory(t.Context(), n.Tree.Root, Options{NodeName: "given", History: func() ([]inventory.NodeRotation, int64, error) {
		return []inventory.NodeRotation{{ID: "r1"}}, 7, errors.New("journal of r0 is damaged")
	}})
	if got.Name != "given" || got.Token != 7 || len(got.Rotations) != 1 {
		t.Errorf("%q, token %d, rotations %+v", got.Name, got.Token, got.Rotations)
	}
	if have := uninspectedPaths(got); len(have) != 1 || !strings.Contains(have[0], "journal of r0 is damaged") {
		t.Errorf("not inspected %q", have)
	}
}
