package rotate

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// api is a cluster that signs a kubelet's requests, once it is approved.
type api struct {
	mu       sync.Mutex
	n        *fakeNode
	refuse   error // to Post
	denied   string
	approved bool
	takes    func(*x509.Certificate) // the part of the request that the signer leaves out
	posted   []nodeapi.CSR
}

func (a *api) PostCSR(_ context.Context, csr nodeapi.CSR) (string, error) {
	a.n.checkAlive()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refuse != nil {
		return "", a.refuse
	}
	a.posted = append(a.posted, csr)
	return "csr-1", nil
}

func (a *api) GetIssued(context.Context, string) ([]byte, string, error) {
	a.n.checkAlive()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.denied != "" || !a.approved {
		return nil, a.denied, nil
	}
	return []byte(a.n.signRequest(a.posted[0].PEM, a.takes)), "", nil
}

// signRequest signs a request as a signer does.
func (n *fakeNode) signRequest(csrPEM string, takes func(*x509.Certificate)) string {
	n.t.Helper()
	csr, err := x509.ParseCertificateRequest(pemBytes(n.t, csrPEM))
	if err != nil {
		n.t.Fatal(err)
	}
	template, err := certs.SuccessorTemplate(n.onDisk("kubelet-client"), certs.Renewal{Now: n.clock(), CA: n.tree.CA.Cert})
	if err != nil {
		n.t.Fatal(err)
	}
	if takes != nil {
		takes(template)
	}
	leaf, err := certs.SignTemplate(template, csr.PublicKey, n.tree.CA.Cert, n.tree.CA.Key.Signer)
	if err != nil {
		n.t.Fatal(err)
	}
	return string(certs.EncodePEM(leaf))
}

// throughAPI makes the cluster the issuer of the kubelet's client certificate.
func (n *fakeNode) throughAPI(e *Engine, a *api) {
	e.Requests = a
	scan := e.Scan
	e.Scan = func(ctx context.Context) (inventory.Node, error) {
		node, err := scan(ctx)
		for i := range node.Certificates {
			if c := &node.Certificates[i]; c.Name == "kubelet-client" {
				c.Issuer = inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: "kubernetes.io/kube-apiserver-client-kubelet"}
			}
		}
		return node, err
	}
}

func TestKubeletRequestsWithItsOwnIdentity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		a := &api{n: n}
		n.throughAPI(e, a)
		n.stageServices(plan.RestartAlways, certs.Kubelet)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		hook := r.hook
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.CSRPosted {
				if rec.CSR.Name != "csr-1" || rec.CSR.Signer != "kubernetes.io/kube-apiserver-client-kubelet" {
					t.Errorf("posted %+v", rec.CSR)
				}
				time.AfterFunc(40*time.Second, func() { a.mu.Lock(); a.approved = true; a.mu.Unlock() })
			}
			hook(rec)
		}
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		n.isAll(true, certs.Kubelet)
		if r.lastRecord().Kind != nodeapi.Finished {
			t.Errorf("records: %s", r.kindsText())
		}
		want := "[digital signature key encipherment client auth]"
		if got := fmt.Sprint(a.posted[0].Usages); got != want {
			t.Errorf("asked for usages %s, want %s", got, want)
		}
	})
}

func TestLocalCAKeySignsWithoutTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		n.throughAPI(e, &api{n: n, refuse: errors.New("connection refused")})
		scan := e.Scan
		e.Scan = func(ctx context.Context) (inventory.Node, error) {
			node, err := scan(ctx)
			for i := range node.Certificates {
				if c := &node.Certificates[i]; c.Issuer.Kind == inventory.KubernetesCSR {
					c.Issuer.CACert = certstest.PKIDir + "/ca.crt"
					c.Issuer.CAKey = certstest.PKIDir + "/ca.key"
				}
			}
			return node, err
		}
		n.stageServices(plan.RestartAlways, certs.Kubelet)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if len(r.recordsOf(nodeapi.CSRNeeded)) > 0 || r.lastRecord().Kind != nodeapi.Finished {
			t.Errorf("records: %s", r.kindsText())
		}
		n.isAll(true, certs.Kubelet)
	})
}

// TestACompromisedIdentityIsNotUsed: an attacker with the stolen key could post the same
// request.
func TestACompromisedIdentityIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		a := &api{n: n}
		n.throughAPI(e, a)
		n.distrustOld(certs.Kubelet)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		hook := r.hook
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.CSRNeeded {
				n.putOrder(nodeapi.Order{Kind: nodeapi.OrderIssued, Issued: &nodeapi.Issued{TargetID: rec.CSR.TargetID, PEM: n.signRequest(rec.CSR.PEM, nil)}})
			}
			hook(rec)
		}
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if len(a.posted) > 0 || len(r.recordsOf(nodeapi.CSRNeeded)) != 1 || r.lastRecord().Kind != nodeapi.Finished {
			t.Errorf("posted %d, records: %s", len(a.posted), r.kindsText())
		}
		n.isAll(true, certs.Kubelet)
		n.noOldKeys()
	})
}

func TestCSRNeededSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		a := &api{n: n, refuse: errors.New("401 Unauthorized")}
		n.throughAPI(e, a)
		n.stageServices(plan.RestartAlways, certs.Kubelet)
		n.killAt(r, 2)
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		needed := r.recordsOf(nodeapi.CSRNeeded)
		if len(needed) != 1 || !strings.Contains(needed[0].Message, "401") {
			t.Fatalf("records: %s %+v", r.kindsText(), needed)
		}
		n.dead = false
		e, r = n.newEngine()
		n.throughAPI(e, a)
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		go func() {
			time.Sleep(3 * time.Minute) // an administrator takes his time
			n.putOrder(nodeapi.Order{Kind: nodeapi.OrderKeepAlive})
			time.Sleep(3 * time.Minute)
			n.putOrder(nodeapi.Order{Kind: nodeapi.OrderIssued, Issued: &nodeapi.Issued{TargetID: needed[0].CSR.TargetID, PEM: n.signRequest(needed[0].CSR.PEM, nil)}})
		}()
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if got := r.kindsText(); !strings.HasPrefix(got, "Staged Committing") || !strings.HasSuffix(got, "Finished") {
			t.Errorf("records after the restart: %s", got)
		}
		n.isAll(true, certs.Kubelet)
		n.noSecrets()
	})
}

func TestADeniedRequestFailsTheStaging(t *testing.T) {
	for _, test := range []struct {
		name  string
		api   *api
		order *nodeapi.Order
		words string
	}{
		{"denied", &api{denied: "denied by admin: unknown node"}, nil, "unknown node"},
		{"never signed", &api{}, nil, "no certificate was issued within 10m0s"},
		{"the administrator may not", &api{refuse: errors.New("403")},
			&nodeapi.Order{Kind: nodeapi.OrderIssued, Issued: &nodeapi.Issued{Error: "approve: forbidden"}}, "approve: forbidden"},
		{"abandoned", &api{}, &abandon, `order "Abandon" came before`},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				before := n.takeSnapshot()
				e, r := n.newEngine()
				e.Idle = time.Second
				a := test.api
				a.n = n
				n.throughAPI(e, a)
				n.stageServices(plan.RestartAlways, certs.Kubelet)
				r.hook = func(rec nodeapi.Record) {
					if rec.CSR != nil && test.order != nil {
						o := *test.order
						if o.Issued != nil {
							o.Issued.TargetID = rec.CSR.TargetID
						}
						n.putOrder(o)
					}
				}
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				failed := r.recordsOf(nodeapi.Failed)
				if len(failed) != 1 || !strings.Contains(failed[0].Message, test.words) {
					t.Errorf("records: %s %+v, want %q", r.kindsText(), failed, test.words)
				}
				n.sameAs(before)
				n.stagedIsEmpty()
			})
		})
	}
}

// TestASignerThatDropsNamesIsRefused has the certificates API grant less than was requested:
// another usage, or fewer names. The error shows the difference, old and new.
func TestASignerThatDropsNamesIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		takes func(*x509.Certificate)
		says  string
	}{
		"a usage": {func(c *x509.Certificate) {
			c.ExtraExtensions = nil
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		},
			`usages: "client auth, digital signature, key encipherment" → "digital signature, key encipherment, server auth" (lost client auth)`},
		"its group": {func(c *x509.Certificate) { c.RawSubject, c.Subject = nil, pkix.Name{CommonName: c.Subject.CommonName} },
			`subject: "CN=system:node:cp1,O=system:nodes" → "CN=system:node:cp1"`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				before := n.takeSnapshot()
				e, r := n.newEngine()
				e.Idle = time.Second
				n.throughAPI(e, &api{n: n, approved: true, takes: test.takes})
				n.stageServices(plan.RestartAlways, certs.Kubelet)
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				failed := r.recordsOf(nodeapi.Failed)
				if len(failed) != 1 || !strings.Contains(failed[0].Message, test.says) || !strings.Contains(failed[0].Hint, "it must sign the names and usages that were requested") {
					t.Errorf("records: %s %+v, want %q", r.kindsText(), failed, test.says)
				}
				n.sameAs(before)
				n.stagedIsEmpty()
			})
		})
	}
}

func TestStagingContinuesAfterATermination(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		e, r := n.newEngine()
		n.throughAPI(e, &api{n: n})
		ctx, sigterm := context.WithCancel(t.Context())
		r.hook = func(rec nodeapi.Record) {
			if rec.Kind == nodeapi.CSRPosted {
				sigterm()
			}
		}
		n.stageServices(plan.RestartAlways, certs.Kubelet)
		if err := runOrders(t, ctx, e); err != nil {
			t.Fatal(err)
		}
		if got := r.kindsText(); got != "Staging CSRPosted Abandoned" {
			t.Errorf("records: %s", got)
		}
		n.stagedIsEmpty()
	})
}
