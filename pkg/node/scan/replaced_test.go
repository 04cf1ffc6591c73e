package scan

import (
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestCAThatWasReplacedWithANewKey: old and new CA are in one bundle, and only the new key is
// there. The reason for certificates of the old one names that.
func TestCAThatWasReplacedWithANewKey(t *testing.T) {
	n := kubeadmNode(t)
	fresh := certstest.NewCA(t, "kubernetes")
	n.putFile(t, certstest.PKIDir+"/ca.crt", certs.EncodePEM(n.CA.Cert, fresh.Cert))
	n.putFile(t, certstest.PKIDir+"/ca.key", fresh.Pair().KeyPEM(t))
	got := n.scanAt(t, certstest.Now)
	c := certificateNamed(t, got, "apiserver")
	if c.Status != certs.OK || c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, "replaced by one of the same name with a new key") {
		t.Errorf("%s, issuer %+v: %q", c.Status, c.Issuer, c.Reason)
	}
	if c := certificateNamed(t, got, "etcd-server"); c.Reason != "" {
		t.Errorf("etcd-server: %q", c.Reason)
	}
}
