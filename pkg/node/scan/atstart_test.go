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

func moveFile(t *testing.T, n *layouttest.Node, from, to string) {
	t.Helper()
	if err := os.Rename(n.LocalPath(from), n.LocalPath(to)); err != nil {
		t.Fatal(err)
	}
}
