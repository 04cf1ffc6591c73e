package scan

import (
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestSNIPairForAnAddressElsewhereIsNotTakenToBeReplaced: the server's default certificate at
// other addresses does not count.
func TestSNIPairForAnAddressElsewhereIsNotTakenToBeReplaced(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	n.WritePair(t, pki+"/vip", n.CA.Leaf(t, certstest.Name("vip"), certstest.SANs("10.0.0.100")))
	n.apiServer(map[string][]string{"tls-sni-cert-key": {pki + "/vip.crt," + pki + "/vip.key:10.0.0.100"}})
	got := n.scanAt(t, certstest.Now)
	for _, name := range []string{"apiserver", "apiserver-sni"} {
		if c := certificateNamed(t, got, name); c.Status != certs.OK {
			t.Errorf("%s is %s: %s", name, c.Status, c.Reason)
		}
	}
}

// TestPairThatEtcdMadeIsListedWithItsEnd, and with the reason why it is not renewed.
func TestPairThatEtcdMadeIsListedWithItsEnd(t *testing.T) {
	n := kubeadmNode(t)
	end := certstest.Now.Add(24 * time.Hour)
	own := certstest.NewCA(t, "etcd", certstest.Valid(end.Add(-365*24*time.Hour), end)).Pair()
	for _, kind := range []string{"client", "peer"} {
		n.putFile(t, "/var/lib/etcd/fixtures/"+kind+"/cert.pem", own.CertPEM())
		n.putFile(t, "/var/lib/etcd/fixtures/"+kind+"/key.pem", own.KeyPEM(t))
	}
	n.withArgs(certs.Etcd, 400, "a", map[string][]string{"cert-file": nil, "key-file": nil, "peer-cert-file": nil, "peer-key-file": nil,
		"auto-tls": {"true"}, "peer-auto-tls": {"true"}, "data-dir": {"/var/lib/etcd"}}, "/var/lib/etcd")
	n.served["127.0.0.1:2379"] = own.Leaf()
	n.served["10.0.0.11:2379"] = own.Leaf()
	n.served["10.0.0.11:2380"] = own.Leaf()
	got := n.scanAt(t, certstest.Now)
	for _, name := range []string{"etcd-server", "etcd-peer"} {
		c := certificateNamed(t, got, name)
		if c.Status != certs.Expiring || !c.NotAfter.Equal(end) || c.Issuer.Kind != inventory.NoIssuer || c.Reason == "" {
			t.Errorf("%s: %s, ends %s, issuer %q, %s", name, c.Status, c.NotAfter, c.Issuer.Kind, c.Reason)
		}
	}
}
