package scan

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// node is a kubeadm control-plane node in a directory, with the certificates that its endpoints
// serve.
type node struct {
	*certstest.Tree
	*layouttest.Node
	served map[string]*x509.Certificate
}

func kubeadmNode(t *testing.T, options ...certstest.Option) *node {
	t.Helper()
	tree := certstest.Kubeadm(t, "cp1", options...)
	n := &node{Tree: tree, Node: layouttest.NodeIn(t, tree.Root), served: map[string]*x509.Certificate{
		"127.0.0.1:2379": tree.Pairs["etcd-server"].Leaf(), "10.0.0.11:2379": tree.Pairs["etcd-server"].Leaf(),
		"10.0.0.11:2380": tree.Pairs["etcd-peer"].Leaf(), "127.0.0.1:6443": tree.Pairs["apiserver"].Leaf(),
		"127.0.0.1:10250": tree.Pairs["kubelet-server"].Leaf(),
	}}
	n.Node.AddKubeadm(certstest.PKIDir)
	return n
}

func (n *node) scanAt(t *testing.T, at time.Time) inventory.Node {
	t.Helper()
	return TakeInventory(t.Context(), n.Tree.Root, Options{
		Now: func() time.Time { return at },
		Handshake: func(_ context.Context, address, _ string) (*x509.Certificate, error) {
			if c := n.served[address]; c != nil {
				return c, nil
			}
			return nil, errors.New("connection refused")
		},
	})
}

// putFile replaces a file of the node.
func (n *node) putFile(t *testing.T, path string, data []byte) {
	t.Helper()
	n.Tree.Write(t, path, data, 0o600)
}

func certificateNamed(t *testing.T, n inventory.Node, name string) inventory.Certificate {
	t.Helper()
	for _, c := range n.Certificates {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no certificate %q", name)
	return inventory.Certificate{}
}

func TestScanOfAHealthyNode(t *testing.T) {
	for name, options := range map[string][]certstest.Option{
		"ECDSA": nil, "RSA": {certstest.WithKey(certstest.RSA2048, "")}, "Ed25519": {certstest.WithKey(certstest.Ed25519, "")},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t, options...)
			got := n.scanAt(t, certstest.Now)
			if got.Name != "cp1" || !got.Time.Equal(certstest.Now) {
				t.Errorf("node %q at %v", got.Name, got.Time)
			}
			for _, x := range got.NotInspected {
				t.Errorf("not inspected: %+v", x)
			}
			if len(got.Certificates) != len(n.Pairs) {
				t.Errorf("%d certificates, want %d", len(got.Certificates), len(n.Pairs))
			}
			for name, pair := range n.Pairs {
				c := certificateNamed(t, got, name)
				if c.Status != certs.OK || c.Reason != "" || c.FingerprintSHA256 != certs.Fingerprint(pair.Leaf()) {
					t.Errorf("%s: %s %s %s", name, c.Status, c.Reason, c.FingerprintSHA256)
				}
			}
			if !slices.IsSortedFunc(got.Certificates, func(a, b inventory.Certificate) int {
				return slices.Index(certs.Services(), a.Service) - slices.Index(certs.Services(), b.Service)
			}) {
				t.Error("certificates are not in the order of services")
			}
		})
	}
}

func TestScanFindsIssuers(t *testing.T) {
	n := kubeadmNode(t)
	got := n.scanAt(t, certstest.Now)
	const pki = certstest.PKIDir
	local := func(ca string) inventory.Issuer {
		return inventory.Issuer{Kind: inventory.LocalCA, CACert: pki + ca + ".crt", CAKey: pki + ca + ".key"}
	}
	for name, want := range map[string]inventory.Issuer{
		"apiserver": local("/ca"), "apiserver-kubelet-client": local("/ca"), "admin.conf": local("/ca"),
		"apiserver-etcd-client": local("/etcd/ca"), "etcd-server": local("/etcd/ca"), "etcd-healthcheck-client": local("/etcd/ca"),
		"front-proxy-client": local("/front-proxy-ca"),
		"kubelet-server":     {Kind: inventory.Throwaway},
		"kubelet-client":     {Kind: inventory.KubernetesCSR, Signer: "kubernetes.io/kube-apiserver-client-kubelet", CACert: pki + "/ca.crt", CAKey: pki + "/ca.key"},
	} {
		if c := certificateNamed(t, got, name); c.Issuer != want {
			t.Errorf("%s: %+v, want %+v", name, c.Issuer, want)
		}
	}
	var names []string
	for _, a := range got.Authorities {
		names = append(names, a.Name+" "+a.KeyOn+" "+string(a.Status))
	}
	want := []string{"etcd-ca " + pki + "/etcd/ca.key OK", "kubernetes " + pki + "/ca.key OK", "front-proxy-ca " + pki + "/front-proxy-ca.key OK"}
	if !slices.Equal(names, want) {
		t.Errorf("authorities %q, want %q", names, want)
	}
	if health := certificateNamed(t, got, "etcd-healthcheck-client"); health.Client == nil || health.Client.Address != "127.0.0.1:2379" || health.Client.CAFile != pki+"/etcd/ca.crt" {
		t.Errorf("healthcheck-client is verified against %+v", health.Client)
	}
	if proxy := certificateNamed(t, got, "front-proxy-client"); proxy.Client.CAFile != pki+"/ca.crt" {
		t.Errorf("the front proxy trusts %q, want the CA of the API server's certificate", proxy.Client.CAFile)
	}
}

func TestCAKeyOfAnyName(t *testing.T) {
	n := kubeadmNode(t)
	const key = certstest.PKIDir + "/the-one.key"
	if err := os.Rename(n.Tree.Local(certstest.PKIDir+"/front-proxy-ca.key"), n.Tree.Local(key)); err != nil {
		t.Fatal(err)
	}
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "front-proxy-client")
	if c.Issuer.Kind != inventory.LocalCA || c.Issuer.CAKey != key {
		t.Errorf("issuer %+v", c.Issuer)
	}
}

func TestCAKeyElsewhere(t *testing.T) {
	n := kubeadmNode(t)
	n.putFile(t, certstest.PKIDir+"/front-proxy-ca.key", certstest.NewCA(t, "other").Pair().KeyPEM(t))
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "front-proxy-client")
	if c.Issuer.Kind != inventory.NoIssuer || c.Status != certs.OK || !strings.Contains(c.Reason, "the key of its CA") {
		t.Errorf("issuer %+v, %s %q", c.Issuer, c.Status, c.Reason)
	}
}

// TestFindings breaks one thing of a healthy node after the other; all others must stay as they
// were.
func TestFindings(t *testing.T) {
	const pki = certstest.PKIDir
	year := 366 * 24 * time.Hour
	for _, tt := range []struct {
		name   string
		spoil  func(t *testing.T, n *node)
		at     time.Time
		cert   string
		status certs.Status
		reason string
		others certs.Status // of the rest; default OK
	}{
		{name: "certificate that cannot be parsed", cert: "apiserver", status: certs.Invalid, reason: "CERTIFICATE",
			spoil: func(t *testing.T, n *node) { n.putFile(t, pki+"/apiserver.crt", []byte("hello")) }},
		{name: "certificate cut short", cert: "apiserver", status: certs.Invalid, reason: "apiserver.crt",
			spoil: func(t *testing.T, n *node) { n.putFile(t, pki+"/apiserver.crt", n.Pairs["apiserver"].CertPEM()[:200]) }},
		{name: "missing certificate", cert: "etcd-peer", status: certs.Invalid, reason: "no such file",
			spoil: func(t *testing.T, n *node) { removeFile(t, n, pki+"/etcd/peer.crt") }},
		{name: "directory where a certificate should be", cert: "apiserver", status: certs.Invalid, reason: "not a regular file",
			spoil: func(t *testing.T, n *node) {
				removeFile(t, n, pki+"/apiserver.crt")
				if err := os.Mkdir(n.Tree.Local(pki+"/apiserver.crt"), 0o755); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "missing key", cert: "etcd-server", status: certs.Invalid, reason: "no such file",
			spoil: func(t *testing.T, n *node) { removeFile(t, n, pki+"/etcd/server.key") }},
		{name: "key that does not fit", cert: "apiserver", status: certs.Invalid, reason: "does not fit",
			spoil: func(t *testing.T, n *node) { n.putFile(t, pki+"/apiserver.key", n.Pairs["etcd-peer"].KeyPEM(t)) }},
		{name: "kubeconfig whose key does not fit", cert: "scheduler.conf", status: certs.Invalid, reason: "does not fit",
			spoil: func(t *testing.T, n *node) {
				p := certstest.Pair{Chain: n.Pairs["scheduler.conf"].Chain, Key: n.Pairs["apiserver"].Key}
				n.putFile(t, "/etc/kubernetes/scheduler.conf", certstest.Kubeconfig(t, n.CA, "system:kube-scheduler", p))
			}},
		{name: "certificate of a CA of the same name", cert: "front-proxy-client", status: certs.Invalid, reason: "did not sign it",
			spoil: func(t *testing.T, n *node) {
				n.WritePair(t, pki+"/front-proxy-ca", certstest.NewCA(t, "front-proxy-ca", certstest.SANs("front-proxy-ca")).Pair())
			}},
		{name: "CA that expired before its certificate", cert: "front-proxy-client", status: certs.Invalid, reason: "expired",
			spoil: func(t *testing.T, n *node) {
				old := certstest.NewCA(t, "front-proxy-ca", certstest.OfKey(n.FrontProxyCA.Key), certstest.Valid(certstest.Now.Add(-year), certstest.Now.Add(-time.Hour)))
				n.WritePair(t, pki+"/front-proxy-ca", old.Pair())
			}},
		{name: "endpoint that serves another certificate", cert: "apiserver", status: certs.NotServed, reason: "127.0.0.1:6443 serves another",
			spoil: func(t *testing.T, n *node) { n.served["127.0.0.1:6443"] = n.Pairs["etcd-server"].Leaf() }},
		{name: "one of two endpoints that serves another", cert: "etcd-server", status: certs.NotServed, reason: "10.0.0.11:2379 serves another",
			spoil: func(t *testing.T, n *node) { n.served["10.0.0.11:2379"] = n.Pairs["etcd-peer"].Leaf() }},
		{name: "expired", cert: "apiserver", status: certs.Expired, reason: "expired",
			spoil: func(t *testing.T, n *node) {
				p := n.CA.Leaf(t, certstest.Valid(certstest.Now.Add(-year), certstest.Now.Add(-time.Hour)))
				n.WritePair(t, pki+"/apiserver", p)
			}},
		{name: "expiring soon", at: certstest.Now.Add(year - 10*24*time.Hour), cert: "apiserver", status: certs.Expiring, reason: "ends", others: certs.Expiring},
		{name: "a clock that is behind", at: certstest.Now.Add(-36 * time.Hour), cert: "apiserver", status: certs.NotYetValid, reason: "clock", others: certs.NotYetValid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := kubeadmNode(t)
			if tt.spoil != nil {
				tt.spoil(t, n)
			}
			if tt.at.IsZero() {
				tt.at = certstest.Now
			}
			if tt.others == "" {
				tt.others = certs.OK
			}
			got := n.scanAt(t, tt.at)
			c := certificateNamed(t, got, tt.cert)
			if c.Status != tt.status || !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("%s: %s %q, want %s and %q", tt.cert, c.Status, c.Reason, tt.status, tt.reason)
			}
			for _, o := range got.Certificates {
				// The kubelet's own certificate has other dates.
				if o.Name != tt.cert && o.Name != "kubelet-server" && o.Status != tt.others {
					t.Errorf("%s: %s %q, want %s", o.Name, o.Status, o.Reason, tt.others)
				}
			}
		})
	}
}

func removeFile(t *testing.T, n *node, path string) {
	t.Helper()
	if err := os.Remove(n.Tree.Local(path)); err != nil {
		t.Fatal(err)
	}
}

func TestUnreachableEndpointIsNoVerdict(t *testing.T) {
	n := kubeadmNode(t)
	delete(n.served, "127.0.0.1:6443")
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "apiserver")
	if c.Status != certs.OK || c.Served[0].Error == "" || c.Served[0].FingerprintSHA256 != "" {
		t.Errorf("%s %+v", c.Status, c.Served)
	}
}

// TestHandshakesRunTogether has endpoints that answer only after all were requested, and checks
// their time limit.
func TestHandshakesRunTogether(t *testing.T) {
	n := kubeadmNode(t)
	var all sync.WaitGroup
	all.Add(len(n.served))
	got := TakeInventory(t.Context(), n.Tree.Root, Options{Handshake: func(ctx context.Context, address, _ string) (*x509.Certificate, error) {
		all.Done()
		all.Wait()
		if end, ok := ctx.Deadline(); !ok || time.Until(end) > 3*time.Second {
			return nil, fmt.Errorf("unbounded: %v", end)
		}
		return n.served[address], nil
	}})
	for _, c := range got.Certificates {
		if c.Status != certs.OK {
			t.Errorf("%s: %s %q %+v", c.Name, c.Status, c.Reason, c.Served)
		}
	}
}

func TestNoKeyInTheInventory(t *testing.T) {
	n := kubeadmNode(t)
	out, err := json.Marshal(n.scanAt(t, certstest.Now))
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range n.Pairs {
		for line := range strings.SplitSeq(string(p.KeyPEM(t)), "\n") {
			if len(line) > 40 && !strings.HasPrefix(line, "-----") && strings.Contains(string(out), line) {
				t.Errorf("the inventory shows the key of %s", name)
			}
		}
	}
}

// A scan does not verify certificates that were restored at boot, but reports that they are
// unverified.
func TestRestoredAtBootIsReported(t *testing.T) {
	tree := certstest.Kubeadm(t, "cp1")
	for _, unverified := range []bool{true, false} {
		history := func() ([]inventory.NodeRotation, int64, error) {
			return []inventory.NodeRotation{{ID: "7f3c2a", State: inventory.RolledBack, Unverified: unverified}}, 1, nil
		}
		node := TakeInventory(t.Context(), tree.Root, Options{NodeName: "cp1", History: history})
		reported := slices.ContainsFunc(node.NotInspected, func(x inventory.NotInspected) bool {
			return strings.Contains(x.Reason, "rotation 7f3c2a were restored at boot and are not verified yet")
		})
		if reported != unverified {
			t.Errorf("unverified %t, reported %t: %+v", unverified, reported, node.NotInspected)
		}
	}
}
