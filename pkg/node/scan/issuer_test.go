package scan

import (
	"crypto/x509"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
)

// TestKubeletServingIssuers gives the kubelet certificates of various issuers, named in its
// configuration or in the place of its self-made one.
func TestKubeletServingIssuers(t *testing.T) {
	nodeName := certstest.Name("system:node:cp1", "system:nodes")
	server := certstest.Usages(x509.ExtKeyUsageServerAuth)
	both := certstest.Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	serving := inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: layout.KubeletServingSigner}
	const pki = certstest.PKIDir
	local := inventory.Issuer{Kind: inventory.LocalCA, CACert: pki + "/ca.crt", CAKey: pki + "/ca.key"}
	for _, tt := range []struct {
		name    string
		pair    func(t *testing.T, n *node) certstest.Pair
		named   bool // by tlsCertFile, rather than at the default place
		withKey bool // the CA's key lies on the node
		want    inventory.Issuer
		reason  string
	}{
		{"made by the kubelet", func(t *testing.T, _ *node) certstest.Pair { return certstest.SelfMade(t, "cp1") }, false, true,
			inventory.Issuer{Kind: inventory.Throwaway}, ""},
		{"made by the kubelet, without its CA in the file", func(t *testing.T, _ *node) certstest.Pair {
			p := certstest.SelfMade(t, "cp1")
			return certstest.Pair{Chain: p.Chain[:1], Key: p.Key}
		}, false, true, inventory.Issuer{Kind: inventory.Throwaway}, ""},
		{"made by an administrator, CA key here", func(t *testing.T, n *node) certstest.Pair { return n.CA.Leaf(t, certstest.Name("cp1"), server) }, false, true, local, ""},
		{"named, CA key here", func(t *testing.T, n *node) certstest.Pair {
			return n.CA.Leaf(t, nodeName, server, certstest.SANs("cp1"))
		}, true, true, local, ""},
		{"named, of the CSR API's form", func(t *testing.T, n *node) certstest.Pair {
			return n.CA.Leaf(t, nodeName, server, certstest.SANs("cp1"))
		}, true, false, serving, ""},
		{"named, for client and server", func(t *testing.T, n *node) certstest.Pair { return n.CA.Leaf(t, nodeName, both, certstest.SANs("cp1")) }, true, false,
			inventory.Issuer{Kind: inventory.NoIssuer}, "the key of its CA"},
		{"named, without names", func(t *testing.T, n *node) certstest.Pair { return n.CA.Leaf(t, nodeName, server) }, true, false,
			inventory.Issuer{Kind: inventory.NoIssuer}, "the key of its CA"},
		{"named, self-signed", func(t *testing.T, _ *node) certstest.Pair { return certstest.NewCA(t, "mine").Pair() }, true, true,
			inventory.Issuer{Kind: inventory.NoIssuer}, "self-signed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := kubeadmNode(t)
			p := tt.pair(t, n)
			n.WritePair(t, certstest.KubeletDir+"/kubelet", p)
			if tt.named {
				n.putFile(t, "/var/lib/kubelet/config.yaml", []byte("tlsCertFile: pki/kubelet.crt\ntlsPrivateKeyFile: pki/kubelet.key\n"+
					"rotateCertificates: true\nauthentication: {x509: {clientCAFile: "+pki+"/ca.crt}}\nstaticPodPath: /etc/kubernetes/manifests\n"))
			}
			if !tt.withKey {
				removeFile(t, n, pki+"/ca.key")
			}
			n.served["127.0.0.1:10250"] = p.Leaf()
			c := certificateNamed(t, n.scanAt(t, certstest.Now), "kubelet-server")
			if tt.named && !tt.withKey { // another node may have the key
				tt.want.Authority = certs.AuthorityID(n.CA.Cert)
				tt.want.CACert = pki + "/ca.crt"
			}
			if tt.want.Kind == inventory.NoIssuer && !tt.withKey {
				tt.want.CACert = pki + "/ca.crt"
				tt.want.Reason = c.Reason
			}
			if c.Issuer != tt.want || !strings.Contains(c.Reason, tt.reason) || c.Status != certs.OK {
				t.Errorf("issuer %+v, %s %q; want %+v, %q", c.Issuer, c.Status, c.Reason, tt.want, tt.reason)
			}
		})
	}
}

// TestSelfMadeCertificateThatAComponentTrustsIsKept: the API server verifies the kubelet by the
// certificate that the kubelet made, and would refuse one of another CA.
func TestSelfMadeCertificateThatAComponentTrustsIsKept(t *testing.T) {
	for name, bundle := range map[string]string{"the file itself": certstest.KubeletDir + "/kubelet.crt", "a copy of it": certstest.PKIDir + "/kubelet-ca.crt"} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			n.putFile(t, certstest.PKIDir+"/kubelet-ca.crt", n.Pairs["kubelet-server"].CertPEM())
			n.withArgs(certs.KubeAPIServer, 401, "b", map[string][]string{"kubelet-certificate-authority": {bundle}}, certstest.KubeletDir)
			c := certificateNamed(t, n.scanAt(t, certstest.Now), "kubelet-server")
			if c.Issuer.Kind != inventory.NoIssuer || !strings.Contains(c.Reason, "kube-apiserver trusts the present one, from \""+bundle) {
				t.Errorf("issuer %+v, reason %q", c.Issuer, c.Reason)
			}
		})
	}
}

// TestWorkerAsksTheCSRAPI: a worker has its CA's certificate but not the key.
func TestWorkerAsksTheCSRAPI(t *testing.T) {
	n := kubeadmNode(t)
	for _, f := range []string{"/ca.key", "/etcd/ca.key", "/front-proxy-ca.key"} {
		removeFile(t, n, certstest.PKIDir+f)
	}
	c := certificateNamed(t, n.scanAt(t, certstest.Now), "kubelet-client")
	if want := (inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: layout.KubeletClientSigner, Authority: certs.AuthorityID(n.CA.Cert), CACert: certstest.PKIDir + "/ca.crt"}); c.Issuer != want {
		t.Errorf("issuer %+v, want %+v", c.Issuer, want)
	}
}

// TestPinnedKubeletConf: the copy in kubelet.conf is judged beside the current one.
func TestPinnedKubeletConf(t *testing.T) {
	n := kubeadmNode(t)
	old := n.CA.Leaf(t, certstest.Name("system:node:cp1", "system:nodes"), certstest.Usages(x509.ExtKeyUsageClientAuth))
	n.putFile(t, "/etc/kubernetes/kubelet.conf", certstest.Kubeconfig(t, n.CA, "system:node:cp1", old))
	got := n.scanAt(t, certstest.Now)
	pinned := certificateNamed(t, got, "kubelet.conf")
	current := certificateNamed(t, got, "kubelet-client")
	if pinned.Status != certs.OK || !strings.Contains(pinned.Reason, "cannot start") || pinned.FingerprintSHA256 != certs.Fingerprint(old.Leaf()) {
		t.Errorf("pinned: %s %q", pinned.Status, pinned.Reason)
	}
	if current.Reason != "" || current.Issuer != pinned.Issuer || current.Issuer.Kind != inventory.KubernetesCSR {
		t.Errorf("current: %q %+v; pinned %+v", current.Reason, current.Issuer, pinned.Issuer)
	}
}
