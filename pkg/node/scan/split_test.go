package scan

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestKubeconfigWithOneOfTwoEmbedded: an administrator's certificate lies in the kubeconfig and
// the key in a file, or the other way about. It is listed with its dates and left out by name.
func TestKubeconfigWithOneOfTwoEmbedded(t *testing.T) {
	for name, split := range map[string]func(n *node, conf []byte, p certstest.Pair) []byte{
		"the key in a file": func(n *node, conf []byte, p certstest.Pair) []byte {
			n.putFile(t, "/etc/kubernetes/pki/jane.key", p.KeyPEM(t))
			return bytes.Replace(conf, []byte("client-key-data: "+base64.StdEncoding.EncodeToString(p.KeyPEM(t))), []byte("client-key: pki/jane.key"), 1)
		},
		"the certificate in a file": func(n *node, conf []byte, p certstest.Pair) []byte {
			n.putFile(t, "/etc/kubernetes/pki/jane.crt", p.CertPEM())
			return bytes.Replace(conf, []byte("client-certificate-data: "+base64.StdEncoding.EncodeToString(p.CertPEM())), []byte("client-certificate: pki/jane.crt"), 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			p := n.Pairs["admin.conf"]
			conf := certstest.Kubeconfig(t, n.CA, "kubernetes-admin", p)
			changed := split(n, conf, p)
			if bytes.Equal(conf, changed) {
				t.Fatalf("nothing replaced in:\n%s", conf)
			}
			n.putFile(t, "/etc/kubernetes/admin.conf", changed)
			got := n.scanAt(t, certstest.Now)
			c := certificateNamed(t, got, "admin.conf")
			if c.Service != certs.Admin || c.Status != certs.OK || c.FingerprintSHA256 != certs.Fingerprint(p.Leaf()) ||
				c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, "put both into") {
				t.Errorf("%+v", c)
			}
			if len(got.NotInspected) > 0 {
				t.Errorf("not inspected: %q", uninspectedPaths(got))
			}
		})
	}
}

// TestKeyOfAKubeconfigsCertificateIsKept: the kubeconfig of a component names the key of another
// pair, and holds a certificate for it. A new key would not fit that one.
func TestKeyOfAKubeconfigsCertificateIsKept(t *testing.T) {
	const key = certstest.PKIDir + "/apiserver-kubelet-client.key"
	n := kubeadmNode(t)
	p := n.CA.Leaf(t, certstest.Name("system:kube-scheduler"), certstest.OfKey(n.Pairs["apiserver-kubelet-client"].Key))
	conf := certstest.Kubeconfig(t, n.CA, "system:kube-scheduler", p)
	n.putFile(t, "/etc/kubernetes/scheduler.conf", bytes.Replace(conf, []byte("client-key-data: "+base64.StdEncoding.EncodeToString(p.KeyPEM(t))), []byte("client-key: "+key), 1))
	n.withArgs(certs.KubeScheduler, 403, "d", nil, "/etc/kubernetes/scheduler.conf")
	got := n.scanAt(t, certstest.Now)
	kept := got.KeptKey(certificateNamed(t, got, "apiserver-kubelet-client"))
	if kept != "also belongs to a certificate in a kubeconfig (/etc/kubernetes/scheduler.conf of kube-scheduler)" {
		t.Errorf("kept: %q", kept)
	}
	if kept := got.KeptKey(certificateNamed(t, got, "apiserver")); kept != "" {
		t.Errorf("the key of apiserver is kept: %q", kept)
	}
}

// TestBootstrapKubeconfig: its client certificate is listed as not in use and needs no action,
// also when it expires soon.
func TestBootstrapKubeconfig(t *testing.T) {
	n := kubeadmNode(t)
	expired := n.CA.Leaf(t, certstest.Name("system:bootstrapper"), certstest.Valid(certstest.Now.AddDate(-1, 0, 0), certstest.Now.AddDate(0, 0, -1)))
	n.putFile(t, "/etc/kubernetes/bootstrap-kubelet.conf", certstest.Kubeconfig(t, n.CA, "bootstrap", expired))
	got := n.scanAt(t, certstest.Now)
	if have := listUnused(got); !slices.Equal(have, []string{"Bootstrap /etc/kubernetes/bootstrap-kubelet.conf"}) || !got.Unused[0].NotAfter.Equal(expired.Leaf().NotAfter) {
		t.Errorf("unused: %q", have)
	}
	if len(got.NotInspected) > 0 {
		t.Errorf("not inspected: %q", uninspectedPaths(got))
	}
}
