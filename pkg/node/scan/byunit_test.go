package scan

import (
	"context"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestCertificatesThatAStartOfK0sRenews scans a k0s controller. Its restart renews them only if
// the CA's files are in the places where k0s expects them.
func TestCertificatesThatAStartOfK0sRenews(t *testing.T) {
	const pki, unit = "/var/lib/k0s/pki/", "k0scontroller.service"
	atStart := inventory.Issuer{Kind: inventory.UnitStart, Unit: unit, CACert: pki + "ca.crt", CAKey: pki + "ca.key"}
	for name, tt := range map[string]struct {
		ca     string
		change func(n *layouttest.Node)
		want   inventory.Issuer
		reason string
	}{
		"as k0s makes it": {"kubernetes-ca", func(*layouttest.Node) {}, atStart, ""},
		"without the CA's key": {"kubernetes-ca", func(n *layouttest.Node) { moveFile(t, n, pki+"ca.key", "/root.key") },
			inventory.Issuer{Kind: inventory.NoIssuer, Unit: unit}, "would make a new CA"},
		"with the CA's key by another name": {"kubernetes-ca", func(n *layouttest.Node) { moveFile(t, n, pki+"ca.key", pki+"other.key") },
			inventory.Issuer{Kind: inventory.NoIssuer, Unit: unit}, "would make a new CA"},
		"without the CA": {"kubernetes-ca", func(n *layouttest.Node) { moveFile(t, n, pki+"ca.crt", "/root.crt") },
			inventory.Issuer{Kind: inventory.NoIssuer, Unit: unit}, "would make a new CA"},
		"with a CA of the operator's": {"acme", func(*layouttest.Node) {}, inventory.Issuer{Kind: inventory.NoIssuer}, "not every version of k0s"},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			ca := certstest.NewCA(t, tt.ca)
			leaf := ca.Leaf(t, certstest.Name("kubernetes"), certstest.SANs("localhost"), certstest.Usages(x509.ExtKeyUsageServerAuth))
			n.WriteFile(pki+"ca.crt", string(ca.Pair().CertPEM()))
			n.WriteFile(pki+"ca.key", string(ca.Pair().KeyPEM(t)))
			n.WriteFile(pki+"server.crt", string(leaf.CertPEM()))
			n.WriteFile(pki+"server.key", string(leaf.KeyPEM(t)))
			n.AddProcess(90, layouttest.UnitCgroup(unit), "/usr/local/bin/k0s", "controller")
			n.AddProcess(100, layouttest.UnitCgroup(unit), "/var/lib/k0s/bin/kube-apiserver", "--tls-cert-file="+pki+"server.crt",
				"--tls-private-key-file="+pki+"server.key", "--client-ca-file="+pki+"ca.crt")
			tt.change(n)
			nothing := func(context.Context, string, string) (*x509.Certificate, error) {
				return nil, errors.New("connection refused")
			}
			node := TakeInventory(t.Context(), n.Root, Options{Now: func() time.Time { return certstest.Now }, Handshake: nothing})
			c := certificateNamed(t, node, "apiserver")
			if c.Issuer != tt.want || !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("issuer %+v %q; want %+v, %q", c.Issuer, c.Reason, tt.want, tt.reason)
			}
		})
	}
}

// TestCertificatesThatACommandRenews scans a server of RKE2. The next start makes a new CA
// where certificate and key of the old one are not in their places; a server signs for an
// agent, which has no key.
func TestCertificatesThatACommandRenews(t *testing.T) {
	const dir, unit = "/var/lib/rancher/rke2", "rke2-server.service"
	const tls = dir + "/server/tls/"
	command := "/usr/local/bin/rke2 certificate rotate --data-dir=" + dir
	for name, tt := range map[string]struct {
		change func(n *layouttest.Node)
		want   inventory.Issuer
		reason string
	}{
		"as RKE2 makes it": {func(*layouttest.Node) {},
			inventory.Issuer{Kind: inventory.UnitCommand, Unit: unit, Command: command, Part: "controller-manager", Backups: dir + "/server", CACert: tls + "client-ca.crt", CAKey: tls + "client-ca.key"}, ""},
		"without the CA's key": {func(n *layouttest.Node) { moveFile(t, n, tls+"client-ca.key", "/root.key") },
			inventory.Issuer{Kind: inventory.NoIssuer, Unit: unit}, "would make a new CA"},
		"with the CA's key by another name": {func(n *layouttest.Node) { moveFile(t, n, tls+"client-ca.key", tls+"other.key") },
			inventory.Issuer{Kind: inventory.NoIssuer, Unit: unit}, "where rke2 does not expect it"},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			ca := certstest.NewCA(t, "rke2-client-ca@1764000000")
			n.WriteFile(tls+"client-ca.crt", string(ca.Pair().CertPEM()))
			n.WriteFile(tls+"client-ca.key", string(ca.Pair().KeyPEM(t)))
			n.WriteFile(dir+"/agent/client-ca.crt", string(ca.Pair().CertPEM()))
			for path, user := range map[string]string{tls + "client-controller": "system:kube-controller-manager", dir + "/agent/client-kubelet": "system:node:n1"} {
				leaf := ca.Leaf(t, certstest.Name(user), certstest.Usages(x509.ExtKeyUsageClientAuth))
				n.WriteFile(path+".crt", string(leaf.CertPEM())+string(ca.Pair().CertPEM()))
				n.WriteFile(path+".key", string(leaf.KeyPEM(t)))
			}
			kubeconfig := func(file string) string {
				return "users: [{name: user, user: {client-certificate: " + file + ".crt, client-key: " + file + ".key}}]\n" +
					"contexts: [{name: Default, context: {user: user, cluster: local}}]\ncurrent-context: Default\nclusters: [{name: local, cluster: {server: 'https://127.0.0.1:6443'}}]\n"
			}
			n.WriteFile(dir+"/agent/kubelet.kubeconfig", kubeconfig(dir+"/agent/client-kubelet"))
			n.WriteFile(dir+"/server/cred/controller.kubeconfig", kubeconfig(tls+"client-controller"))
			n.WriteFile("/usr/local/lib/systemd/system/"+unit, "[Service]\nKillMode=process\nExecStart=/usr/local/bin/rke2 server\n")
			n.AddProcess(90, layouttest.UnitCgroup(unit), "/usr/local/bin/rke2 server")
			n.AddProcess(100, layouttest.UnitCgroup(unit), "kubelet", "--kubeconfig="+dir+"/agent/kubelet.kubeconfig", "--pod-manifest-path="+dir+"/agent/pod-manifests", "--client-ca-file="+dir+"/agent/client-ca.crt")
			n.WriteFile(dir+"/agent/pod-manifests/kcm.yaml", layouttest.ManifestFor("kube-controller-manager",
				[]string{"kube-controller-manager", "--kubeconfig=" + dir + "/server/cred/controller.kubeconfig", "--root-ca-file=" + tls + "client-ca.crt"}, []string{dir + "/server"}))
			tt.change(n)
			nothing := func(context.Context, string, string) (*x509.Certificate, error) {
				return nil, errors.New("connection refused")
			}
			node := TakeInventory(t.Context(), n.Root, Options{Now: func() time.Time { return certstest.Now }, Handshake: nothing})
			c := certificateNamed(t, node, "controller-manager.conf")
			if c.Issuer != tt.want || !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("issuer %+v %q; want %+v, %q", c.Issuer, c.Reason, tt.want, tt.reason)
			}
			own := certificateNamed(t, node, "kubelet-client")
			if own.Issuer.Kind != inventory.UnitCommand || own.Issuer.CACert == "" || own.Reason != "" {
				t.Errorf("of the agent: %+v %q", own.Issuer, own.Reason)
			}
		})
	}
}

// TestCertificatesThatMicroK8sSignsAgain: each needs only its own CA with its key.
func TestCertificatesThatMicroK8sSignsAgain(t *testing.T) {
	const data, unit = "/var/snap/microk8s/current", "snap.microk8s.daemon-kubelite.service"
	ofCA := func(part, ca string) inventory.Issuer {
		return inventory.Issuer{Kind: inventory.RestartCommand, Unit: unit, Command: "/snap/bin/microk8s refresh-certs", Part: part, CACert: data + "/certs/" + ca + ".crt", CAKey: data + "/certs/" + ca + ".key"}
	}
	for name, tt := range map[string]struct {
		change func(n *layouttest.Node)
		want   inventory.Issuer
		reason string
	}{
		"as MicroK8s makes it": {func(*layouttest.Node) {}, ofCA("server.crt", "ca"), ""},
		"without the CA's key": {func(n *layouttest.Node) { moveFile(t, n, data+"/certs/ca.key", "/root.key") },
			inventory.Issuer{Kind: inventory.NoIssuer}, `; "microk8s refresh-certs" would fail`},
		"with the CA's key by another name": {func(n *layouttest.Node) { moveFile(t, n, data+"/certs/ca.key", data+"/certs/other.key") },
			inventory.Issuer{Kind: inventory.NoIssuer}, `where microk8s does not expect it: "microk8s refresh-certs" would fail`},
	} {
		t.Run(name, func(t *testing.T) {
			n := layouttest.NewNode(t)
			flags := "--secure-port=16443\n"
			for file, by := range map[string]string{"server": "ca", "front-proxy-client": "front-proxy-ca"} {
				ca := certstest.NewCA(t, by)
				n.WriteFile(data+"/certs/"+by+".crt", string(ca.Pair().CertPEM()))
				n.WriteFile(data+"/certs/"+by+".key", string(ca.Pair().KeyPEM(t)))
				leaf := ca.Leaf(t, certstest.Name("127.0.0.1"), certstest.SANs("127.0.0.1"), certstest.Usages(x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth))
				n.WriteFile(data+"/certs/"+file+".crt", string(leaf.CertPEM()))
				n.WriteFile(data+"/certs/"+file+".key", string(leaf.KeyPEM(t)))
			}
			for flag, file := range map[string]string{
				"client-ca-file": "ca.crt", "tls-cert-file": "server.crt", "tls-private-key-file": "server.key",
				"requestheader-client-ca-file": "front-proxy-ca.crt", "proxy-client-cert-file": "front-proxy-client.crt", "proxy-client-key-file": "front-proxy-client.key",
			} {
				flags += "--" + flag + "=${SNAP_DATA}/certs/" + file + "\n"
			}
			n.WriteFile(data+"/args/kube-apiserver", flags)
			for _, service := range []string{"kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet"} {
				n.WriteFile(data+"/args/"+service, "")
			}
			n.WriteFile("/snap/bin/microk8s", "")
			n.WriteFile("/etc/systemd/system/"+unit, "[Service]\nExecStart=/usr/bin/snap run microk8s.daemon-kubelite\n")
			n.AddProcess(90, layouttest.UnitCgroup(unit), "/snap/microk8s/8511/kubelite", "--start-control-plane=true")
			tt.change(n)
			nothing := func(context.Context, string, string) (*x509.Certificate, error) {
				return nil, errors.New("connection refused")
			}
			node := TakeInventory(t.Context(), n.Root, Options{Now: func() time.Time { return certstest.Now }, Handshake: nothing})
			c := certificateNamed(t, node, "apiserver")
			if c.Issuer != tt.want || !strings.Contains(c.Reason, tt.reason) {
				t.Errorf("issuer %+v %q; want %+v, %q", c.Issuer, c.Reason, tt.want, tt.reason)
			}
			other := certificateNamed(t, node, "front-proxy-client")
			if other.Issuer != ofCA("front-proxy-client.crt", "front-proxy-ca") || other.Reason != "" {
				t.Errorf("of the front proxy: %+v %q", other.Issuer, other.Reason)
			}
		})
	}
}

// TestServerOfK3sIsScanned: the CA of every certificate is found, with its key in the place where
// K3s signs with it.
func TestServerOfK3sIsScanned(t *testing.T) {
	const dir, unit = "/var/lib/rancher/k3s", "k3s.service"
	const tls = dir + "/server/tls/"
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/systemd/system/"+unit, "[Service]\nKillMode=process\nExecStart=/usr/local/bin/k3s server\n")
	n.AddProcess(90, layouttest.UnitCgroup(unit), "/usr/local/bin/k3s server")
	signers := map[string]certstest.CA{}
	for _, name := range []string{"client-ca", "server-ca", "request-header-ca", "etcd/server-ca", "etcd/peer-ca"} {
		signers[name] = certstest.NewCA(t, name+"@1764000000")
		n.WriteFile(tls+name+".crt", string(signers[name].Pair().CertPEM()))
		n.WriteFile(tls+name+".key", string(signers[name].Pair().KeyPEM(t)))
	}
	n.WriteFile(tls+"service.key", string(certstest.NewCA(t, "tokens").Pair().KeyPEM(t)))
	n.WriteFile(dir+"/agent/client-ca.crt", string(signers["client-ca"].Pair().CertPEM()))
	signedBy := map[string]string{
		"server/tls/client-kube-apiserver": "client-ca", "server/tls/client-controller": "client-ca", "server/tls/client-scheduler": "client-ca",
		"server/tls/client-admin": "client-ca", "agent/client-kubelet": "client-ca", "agent/client-kube-proxy": "client-ca",
		"server/tls/serving-kube-apiserver": "server-ca", "agent/serving-kubelet": "server-ca", "server/tls/client-auth-proxy": "request-header-ca",
		"server/tls/etcd/client": "etcd/server-ca", "server/tls/etcd/server-client": "etcd/server-ca", "server/tls/etcd/peer-server-client": "etcd/peer-ca",
	}
	for file, signer := range signedBy {
		leaf := signers[signer].Leaf(t, certstest.Name(file))
		n.WriteFile(dir+"/"+file+".crt", string(leaf.CertPEM())+string(signers[signer].Pair().CertPEM()))
		n.WriteFile(dir+"/"+file+".key", string(leaf.KeyPEM(t)))
	}
	for file, pair := range map[string]string{
		"server/cred/api-server": "server/tls/client-kube-apiserver", "server/cred/controller": "server/tls/client-controller", "server/cred/scheduler": "server/tls/client-scheduler",
		"server/cred/admin": "server/tls/client-admin", "agent/kubelet": "agent/client-kubelet", "agent/kubeproxy": "agent/client-kube-proxy",
	} {
		n.WriteFile(dir+"/"+file+".kubeconfig", "clusters: [{name: local, cluster: {server: 'https://127.0.0.1:6444', certificate-authority: "+tls+"server-ca.crt}}]\n"+
			"users: [{name: user, user: {client-certificate: "+dir+"/"+pair+".crt, client-key: "+dir+"/"+pair+".key}}]\n"+
			"contexts: [{name: Default, context: {user: user, cluster: local}}]\ncurrent-context: Default\n")
	}
	n.WriteFile(dir+"/server/db/etcd/config", "listen-client-urls: https://127.0.0.1:2379\nlisten-peer-urls: https://10.0.0.11:2380\n"+
		"client-transport-security: {cert-file: "+tls+"etcd/server-client.crt, key-file: "+tls+"etcd/server-client.key, client-cert-auth: true, trusted-ca-file: "+tls+"etcd/server-ca.crt}\n"+
		"peer-transport-security: {cert-file: "+tls+"etcd/peer-server-client.crt, key-file: "+tls+"etcd/peer-server-client.key, trusted-ca-file: "+tls+"etcd/peer-ca.crt}\n")
	nothing := func(context.Context, string, string) (*x509.Certificate, error) {
		return nil, errors.New("connection refused")
	}
	node := TakeInventory(t.Context(), n.Root, Options{Now: func() time.Time { return certstest.Now }, Handshake: nothing})
	if len(node.Certificates) != len(signedBy) || len(node.NotInspected) > 0 || !node.ControlPlane() {
		t.Errorf("%d certificates, not inspected: %+v", len(node.Certificates), node.NotInspected)
	}
	for _, c := range node.Certificates {
		signer := tls + signedBy[strings.TrimSuffix(strings.TrimPrefix(c.Store.Cert, dir+"/"), ".crt")]
		if c.Issuer.Kind != inventory.UnitCommand || c.Issuer.CAKey != signer+".key" || c.Issuer.CACert != signer+".crt" || c.Reason != "" {
			t.Errorf("%s: %+v %q", c.Store.Cert, c.Issuer, c.Reason)
		}
	}
}

func moveFile(t *testing.T, n *layouttest.Node, from, to string) {
	t.Helper()
	if err := os.Rename(n.LocalPath(from), n.LocalPath(to)); err != nil {
		t.Fatal(err)
	}
}
