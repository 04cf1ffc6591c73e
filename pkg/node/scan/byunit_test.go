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
			inventory.Issuer{Kind: inventory.UnitCommand, Unit: unit, Command: command, Part: "controller-manager", CACert: tls + "client-ca.crt", CAKey: tls + "client-ca.key"}, ""},
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

func moveFile(t *testing.T, n *layouttest.Node, from, to string) {
	t.Helper()
	if err := os.Rename(n.LocalPath(from), n.LocalPath(to)); err != nil {
		t.Fatal(err)
	}
}
