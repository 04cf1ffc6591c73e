package scan

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestSignaturesThatGoRefuses: the reason is the algorithm or the key. A CA that signs well renews
// such a certificate; one with a small key renews none.
func TestSignaturesThatGoRefuses(t *testing.T) {
	client := []certstest.Option{certstest.Name("front-proxy-client"), certstest.Usages(x509.ExtKeyUsageClientAuth)}
	for name, test := range map[string]struct {
		pair    func(t *testing.T, ca certstest.CA) (certstest.CA, certstest.Pair)
		reason  string
		renewed bool
	}{
		"MD5": {func(t *testing.T, ca certstest.CA) (certstest.CA, certstest.Pair) {
			return ca, ca.LeafMD5(t, client...)
		},
			"is signed with MD5-RSA, which Go programs such as kube-apiserver refuse", true},
		"SHA-1": {func(t *testing.T, ca certstest.CA) (certstest.CA, certstest.Pair) {
			return ca, ca.Leaf(t, append(client, certstest.Template(func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }))...)
		}, "is signed with SHA1-RSA, which Go programs such as kube-apiserver refuse", true},
		"small key": {func(t *testing.T, ca certstest.CA) (_ certstest.CA, p certstest.Pair) {
			certstest.WithSmallRSA(t, func(key func(int) certs.Key) { p = ca.Leaf(t, append(client, certstest.OfKey(key(512)))...) })
			return ca, p
		}, "has an RSA key of 512 bits, which Go programs such as kube-apiserver refuse", true},
		"small key of the CA": {func(t *testing.T, _ certstest.CA) (ca certstest.CA, p certstest.Pair) {
			certstest.WithSmallRSA(t, func(key func(int) certs.Key) {
				ca = certstest.NewCA(t, "front-proxy-ca", certstest.OfKey(key(768)))
				p = ca.Leaf(t, client...)
			})
			return ca, p
		}, `certificate authority "CN=front-proxy-ca" has an RSA key of 768 bits, which Go programs such as kube-apiserver refuse`, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			ca, p := test.pair(t, certstest.NewCA(t, "front-proxy-ca", certstest.WithKey(certstest.RSA2048, "")))
			n.WritePair(t, certstest.PKIDir+"/front-proxy-ca", ca.Pair())
			n.WritePair(t, certstest.PKIDir+"/front-proxy-client", p)
			got := n.scanAt(t, certstest.Now)
			c := certificateNamed(t, got, "front-proxy-client")
			if c.Status != certs.Invalid || !strings.HasPrefix(c.Reason, test.reason) || strings.Contains(c.Reason, "did not sign") {
				t.Errorf("%s %q, want %q", c.Status, c.Reason, test.reason)
			}
			renewed, left := planNames(t, got, plan.RestartAlways, certs.KubeAPIServer)
			if has := strings.Contains(strings.Join(renewed, " "), "front-proxy-client"); has != test.renewed {
				t.Errorf("renewed %q, left %+v", renewed, left)
			}
			if !test.renewed && (len(left) != 1 || !strings.Contains(left[0].Reason, "has an RSA key of 768 bits")) {
				t.Errorf("left %+v", left)
			}
		})
	}
}
