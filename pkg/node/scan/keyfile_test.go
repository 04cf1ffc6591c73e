package scan

import (
	"os"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// TestCertificatesOfOneKeyFile finds certificates of one key file by the real path of that
// file.
func TestCertificatesOfOneKeyFile(t *testing.T) {
	const pki = certstest.PKIDir
	n := kubeadmNode(t)
	shared := n.EtcdCA.Leaf(t, certstest.Name("cp1"), certstest.SANs("cp1"), certstest.OfKey(n.Pairs["apiserver"].Key))
	n.putFile(t, pki+"/etcd/server.crt", shared.CertPEM())
	removeFile(t, n, pki+"/etcd/server.key")
	if err := os.Symlink("../apiserver.key", n.Tree.Local(pki+"/etcd/server.key")); err != nil {
		t.Fatal(err)
	}
	n.putFile(t, pki+"/etcd/peer.crt", n.EtcdCA.Leaf(t, certstest.Name("cp1"), certstest.OfKey(n.Pairs["apiserver"].Key)).CertPEM())
	n.putFile(t, pki+"/etcd/peer.key", n.Pairs["apiserver"].KeyPEM(t)) // a copy of the key is another file
	got := n.scanAt(t, certstest.Now)
	c := certificateNamed(t, got, "apiserver")
	if c.KeyFile != pki+"/apiserver.key" {
		t.Errorf("key file %q", c.KeyFile)
	}
	others := got.SharingKey(c)
	if len(others) != 1 || others[0].Name != "etcd-server" {
		t.Errorf("shared with %+v", others)
	}
	if f := certificateNamed(t, got, "kubelet-client").KeyFile; f != n.KubeletCurrent {
		t.Errorf("the kubelet's key file is %q", f)
	}
	if f := certificateNamed(t, got, "admin.conf").KeyFile; f != "" {
		t.Errorf("the key file of admin.conf is %q", f)
	}
}

func TestLifeOfScannedCertificates(t *testing.T) {
	n := kubeadmNode(t)
	copied := n.CA.Leaf(t, certstest.Name("kube-apiserver"), certstest.Valid(n.CA.Cert.NotBefore, certstest.Now.Add(364*day+7*3600e9)))
	n.WritePair(t, certstest.PKIDir+"/apiserver", copied)
	long := n.CA.Leaf(t, certstest.Name("front"), certstest.Valid(certstest.Now.Add(-9*day), certstest.Now.Add(3641*day)))
	n.WritePair(t, certstest.PKIDir+"/apiserver-kubelet-client", long)
	got := n.scanAt(t, certstest.Now)
	if c := certificateNamed(t, got, "apiserver"); c.LifeSeconds != int64(certs.DefaultLifetime.Seconds()) {
		t.Errorf("whose NotBefore is its CA's: %d", c.LifeSeconds)
	}
	if c := certificateNamed(t, got, "apiserver-kubelet-client"); c.LifeSeconds != int64((3650 * day).Seconds()) {
		t.Errorf("for ten years: %d", c.LifeSeconds)
	}
}
