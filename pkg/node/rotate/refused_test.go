package rotate

import (
	"crypto/x509"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestRefusedCertificatesAreRenewed: the CA signs the successor of a certificate with MD5 or with a
// key of 512 bits by SHA-256, for a key of 2048 bits.
func TestRefusedCertificatesAreRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		ca := certstest.NewCA(t, "front-proxy-ca", certstest.WithKey(certstest.RSA2048, ""))
		n.tree.WritePair(t, certstest.PKIDir+"/front-proxy-ca", ca.Pair())
		n.tree.WritePair(t, certstest.PKIDir+"/front-proxy-client", ca.LeafMD5(t, certstest.Name("front-proxy-client"), certstest.Usages(x509.ExtKeyUsageClientAuth)))
		certstest.WithSmallRSA(t, func(key func(int) certs.Key) {
			n.tree.WritePair(t, certstest.PKIDir+"/apiserver", n.tree.CA.Leaf(t, certstest.Name("kube-apiserver"), certstest.SANs("cp1"), certstest.OfKey(key(512))))
		})
		for _, name := range []string{"front-proxy-client", "apiserver"} {
			n.original[name] = certs.Fingerprint(n.onDisk(name))
		}
		n.launchService(certs.KubeAPIServer)
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
		if got := n.onDisk("front-proxy-client").SignatureAlgorithm; got != x509.SHA256WithRSA {
			t.Errorf("signed with %s", got)
		}
		if got := certs.KeyAlgorithm(n.onDisk("apiserver").PublicKey); got != "RSA-2048" {
			t.Errorf("key %s", got)
		}
	})
}
