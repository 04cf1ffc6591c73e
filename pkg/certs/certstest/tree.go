package certstest

import (
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// Tree is a directory that looks like a kubeadm control-plane node's root.
type Tree struct {
	Root           hostfs.Root
	CA             CA     // ca
	EtcdCA         CA     // etcd-ca
	FrontProxyCA   CA     // front-proxy-ca
	KubeletCurrent string // host path of the dated file behind kubelet-client-current.pem
	// Pairs and stores by kubeadm's names: "apiserver", "etcd-server", "admin.conf",
	// "kubelet-client", "kubelet-server", …
	Pairs  map[string]Pair
	Stores map[string]inventory.Store
}

// The directories of a kubeadm node.
const (
	KubernetesDir = "/etc/kubernetes"
	PKIDir        = KubernetesDir + "/pki"
	KubeletDir    = "/var/lib/kubelet/pki"
)

// Kubeadm builds the certificates and kubeconfigs of a kubeadm control-plane node
// below a new temporary directory. Options apply to every leaf, e.g. the kind of key.
func Kubeadm(t testing.TB, node string, options ...Option) *Tree {
	t.Helper()
	tree := &Tree{
		Root:         hostfs.Root(t.TempDir()),
		CA:           NewCA(t, "kubernetes", SANs("kubernetes")),
		EtcdCA:       NewCA(t, "etcd-ca", SANs("etcd-ca")),
		FrontProxyCA: NewCA(t, "front-proxy-ca", SANs("front-proxy-ca")),
		Pairs:        map[string]Pair{},
		Stores:       map[string]inventory.Store{},
	}
	tree.WritePair(t, PKIDir+"/ca", tree.CA.Pair())
	tree.WritePair(t, PKIDir+"/etcd/ca", tree.EtcdCA.Pair())
	tree.WritePair(t, PKIDir+"/front-proxy-ca", tree.FrontProxyCA.Pair())

	both := Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth)
	server := Usages(x509.ExtKeyUsageServerAuth)
	client := Usages(x509.ExtKeyUsageClientAuth)
	for _, p := range []struct {
		name, path string
		ca         CA
		is         []Option
	}{
		{"apiserver", "apiserver", tree.CA, []Option{Name("kube-apiserver"), server, SANs(node, "kubernetes", "kubernetes.default.svc", "10.96.0.1", "10.0.0.11")}},
		{"apiserver-kubelet-client", "apiserver-kubelet-client", tree.CA, []Option{Name("kube-apiserver-kubelet-client", "kubeadm:cluster-admins"), client}},
		{"apiserver-etcd-client", "apiserver-etcd-client", tree.EtcdCA, []Option{Name("kube-apiserver-etcd-client"), client}},
		{"front-proxy-client", "front-proxy-client", tree.FrontProxyCA, []Option{Name("front-proxy-client"), client}},
		{"etcd-server", "etcd/server", tree.EtcdCA, []Option{Name(node), both, SANs(node, "localhost", "10.0.0.11", "127.0.0.1", "::1")}},
		{"etcd-peer", "etcd/peer", tree.EtcdCA, []Option{Name(node), both, SANs(node, "localhost", "10.0.0.11", "127.0.0.1", "::1")}},
		{"etcd-healthcheck-client", "etcd/healthcheck-client", tree.EtcdCA, []Option{Name("kube-etcd-healthcheck-client"), client}},
	} {
		tree.Pairs[p.name] = p.ca.Leaf(t, append(p.is, options...)...)
		tree.Stores[p.name] = tree.WritePair(t, PKIDir+"/"+p.path, tree.Pairs[p.name])
	}
	for name, is := range map[string]Option{
		"admin.conf":              Name("kubernetes-admin", "kubeadm:cluster-admins"),
		"super-admin.conf":        Name("kubernetes-super-admin", "system:masters"),
		"controller-manager.conf": Name("system:kube-controller-manager"),
		"scheduler.conf":          Name("system:kube-scheduler"),
	} {
		tree.Pairs[name] = tree.CA.Leaf(t, append([]Option{is, client}, options...)...)
		user := tree.Pairs[name].Leaf().Subject.CommonName
		path := KubernetesDir + "/" + name
		tree.Write(t, path, Kubeconfig(t, tree.CA, user, tree.Pairs[name]), 0o600)
		tree.Stores[name] = inventory.Store{Kind: inventory.Kubeconfig, Cert: path, User: user}
	}
	tree.writeKubelet(t, node, append([]Option{Name("system:node:"+node, "system:nodes"), client}, options...))
	return tree
}

// writeKubelet writes the kubelet's client certificate behind its symlink, its own
// serving certificate, and the kubeconfig that names the former.
func (tree *Tree) writeKubelet(t testing.TB, node string, client []Option) {
	t.Helper()
	p := tree.CA.Leaf(t, client...)
	tree.Pairs["kubelet-client"] = p
	tree.KubeletCurrent = KubeletDir + "/kubelet-client-2026-01-02-03-04-05.pem"
	current := KubeletDir + "/kubelet-client-current.pem"
	tree.Write(t, tree.KubeletCurrent, append(p.CertPEM(), p.KeyPEM(t)...), 0o600)
	// Absolute, as the kubelet makes it: outside the tree it leads nowhere.
	check(t, os.Symlink(tree.KubeletCurrent, tree.Local(current)))
	tree.Stores["kubelet-client"] = inventory.Store{Kind: inventory.Combined, Cert: current}

	tree.Pairs["kubelet-server"] = SelfMade(t, node)
	tree.Stores["kubelet-server"] = tree.WritePair(t, KubeletDir+"/kubelet", tree.Pairs["kubelet-server"])

	tree.Write(t, KubernetesDir+"/kubelet.conf", fmt.Appendf(nil, kubeletConf,
		base64.StdEncoding.EncodeToString(tree.CA.Pair().CertPEM()), "system:node:"+node, current), 0o600)
}

// Local is where a host path lies for the test.
func (tree *Tree) Local(hostPath string) string {
	return filepath.Join(string(tree.Root), hostPath)
}

// Write writes a file at a host path, directories included.
func (tree *Tree) Write(t testing.TB, hostPath string, data []byte, mode os.FileMode) {
	t.Helper()
	local := tree.Local(hostPath)
	check(t, os.MkdirAll(filepath.Dir(local), 0o755))
	check(t, os.WriteFile(local, data, 0o600))
	check(t, os.Chmod(local, mode)) // independently of the umask
}

// WritePair writes path.crt and path.key as kubeadm does.
func (tree *Tree) WritePair(t testing.TB, path string, p Pair) inventory.Store {
	t.Helper()
	tree.Write(t, path+".crt", p.CertPEM(), 0o644)
	tree.Write(t, path+".key", p.KeyPEM(t), 0o600)
	return inventory.Store{Kind: inventory.Pair, Cert: path + ".crt", Key: path + ".key"}
}

// Kubeconfig is a kubeconfig as kubeadm writes it.
func Kubeconfig(t testing.TB, ca CA, user string, p Pair) []byte {
	t.Helper()
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Appendf(nil, kubeconfig, b64(ca.Pair().CertPEM()), user, b64(p.CertPEM()), b64(p.KeyPEM(t)))
}

const kubeconfig = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %[1]s
    server: https://10.0.0.11:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: %[2]s
  name: %[2]s@kubernetes
current-context: %[2]s@kubernetes
kind: Config
users:
- name: %[2]s
  user:
    client-certificate-data: %[3]s
    client-key-data: %[4]s
`

const kubeletConf = `apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: %[1]s
    server: https://10.0.0.11:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: %[2]s
  name: %[2]s@kubernetes
current-context: %[2]s@kubernetes
kind: Config
users:
- name: %[2]s
  user:
    client-certificate: %[3]s
    client-key: %[3]s
`
