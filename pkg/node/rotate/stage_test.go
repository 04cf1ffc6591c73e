package rotate

import (
	"context"
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestFailedStagingChangesNothing(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(n *fakeNode, e *Engine)
		kind    nodeapi.Kind
		words   string
	}{
		{"the file was changed since the plan", func(n *fakeNode, _ *Engine) {
			n.tree.WritePair(n.t, certstest.PKIDir+"/etcd/server", n.tree.EtcdCA.Leaf(n.t, certstest.Name("cp1")))
		}, nodeapi.Refused, "was changed since the plan was made"},
		{"the certificate is missing", func(n *fakeNode, e *Engine) {
			e.Scan = func(context.Context) (inventory.Node, error) { return inventory.Node{Name: "cp1"}, nil }
		}, nodeapi.Refused, "is not there any more"},
		{"no issuer", func(_ *fakeNode, e *Engine) {
			e.Scan = changeScan(e.Scan, func(c *inventory.Certificate) {
				c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
				c.Reason = "the key of etcd-ca is not on this node"
			})
		}, nodeapi.Failed, "the key of etcd-ca is not on this node"},
		{"it is invalid", func(_ *fakeNode, e *Engine) {
			e.Scan = changeScan(e.Scan, func(c *inventory.Certificate) { c.Status = certs.Invalid; c.Reason = "its chain does not verify" })
		}, nodeapi.Failed, "its chain does not verify"},
		{"its key is another's", func(n *fakeNode, _ *Engine) {
			n.tree.Write(n.t, certstest.PKIDir+"/etcd/server.key", n.tree.CA.Leaf(n.t).KeyPEM(n.t), 0o600)
		}, nodeapi.Failed, "does not fit"},
		{"there is no CA key", func(n *fakeNode, _ *Engine) {
			n.tree.Write(n.t, certstest.PKIDir+"/etcd/ca.key", nil, 0o600)
		}, nodeapi.Failed, "no private key"},
		{"an issuer that loses names", func(n *fakeNode, e *Engine) {
			e.issuerOf = func(inventory.Issuer) issue.Issuer { return forgetful{n.tree.EtcdCA} }
		}, nodeapi.Failed, `lacks what the old one had: names: "DNS:cp1`},
		{"the server does not accept it, but the old one", func(n *fakeNode, _ *Engine) {
			n.rejects = func(c inventory.Certificate, leaf *x509.Certificate) error {
				if certs.Fingerprint(leaf) != n.original[c.Name] {
					return fmt.Errorf("401: %w", component.ErrRejected)
				}
				return nil
			}
		}, nodeapi.Failed, "rejects the new certificate and accepts the old one"},
		{"a program error", func(_ *fakeNode, e *Engine) {
			e.Scan = func(context.Context) (inventory.Node, error) { panic("no") }
		}, nodeapi.Failed, "program error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				e, r := n.newEngine()
				n.stageServices(plan.RestartAlways, certs.Etcd)
				test.prepare(n, e)
				before := n.takeSnapshot()
				r.orderAfter(n, test.kind, abandon)
				e.Idle = time.Second
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				answers := r.recordsOf(test.kind)
				if len(answers) != 1 || !strings.Contains(answers[0].Message, test.words) {
					t.Errorf("records: %s; %+v\nwant %s with %q", r.kindsText(), answers, test.kind, test.words)
				}
				n.sameAs(before)
				n.stagedIsEmpty()
				n.noSecrets()
			})
		})
	}
}

// If one certificate cannot be signed, the hint names the command that renews the others.
func TestHintWhereOneCannotBeSigned(t *testing.T) {
	for _, test := range []struct {
		services []certs.Service
		want     string
	}{
		{[]certs.Service{certs.Etcd, certs.Kubelet, certs.KubeScheduler}, "to renew the others without etcd: --service kubelet,kube-scheduler"},
		{[]certs.Service{certs.Etcd}, "fix the cause and run the same command again"},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newFakeNode(t)
			n.tree.Write(t, certstest.PKIDir+"/etcd/ca.key", nil, 0o600)
			r := rotateAll(n, plan.RestartAlways, test.services...)
			if got := r.recordsOf(nodeapi.Failed); len(got) != 1 || !strings.HasSuffix(got[0].Hint, test.want) {
				t.Errorf("%s: %+v", r.kindsText(), got)
			}
		})
	}
}

// changeScan alters the scanned certificate etcd-server.
func changeScan(scan func(context.Context) (inventory.Node, error), change func(*inventory.Certificate)) func(context.Context) (inventory.Node, error) {
	return func(ctx context.Context) (inventory.Node, error) {
		node, err := scan(ctx)
		for i := range node.Certificates {
			if node.Certificates[i].Name == "etcd-server" {
				change(&node.Certificates[i])
			}
		}
		return node, err
	}
}

// forgetful issues certificates without names.
type forgetful struct{ ca certstest.CA }

func (f forgetful) IssueSuccessor(_ context.Context, r issue.Request) ([]*x509.Certificate, error) {
	template, err := certs.SuccessorTemplate(r.Old[0], certs.Renewal{Now: r.Now, CA: f.ca.Cert})
	if err != nil {
		return nil, err
	}
	template.DNSNames = nil
	template.IPAddresses = nil
	template.ExtraExtensions = nil
	leaf, err := certs.SignTemplate(template, r.Key.Signer.Public(), f.ca.Cert, f.ca.Key.Signer)
	return []*x509.Certificate{leaf}, err
}
