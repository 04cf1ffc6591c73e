package rotate

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/issue"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// caOf is the CA of one of the node's issuers.
func (n *fakeNode) caOf(i inventory.Issuer) certstest.CA {
	switch {
	case strings.Contains(i.CACert, "etcd"):
		return n.tree.EtcdCA
	case strings.Contains(i.CACert, "front-proxy"):
		return n.tree.FrontProxyCA
	}
	return n.tree.CA
}

// onlyElsewhere is an issuer whose CA's key is on another node.
func (n *fakeNode) onlyElsewhere(i inventory.Issuer) inventory.Issuer {
	return inventory.Issuer{Kind: inventory.NoIssuer, Authority: certs.AuthorityID(n.caOf(i).Cert), CACert: i.CACert, Reason: "the key is not here"}
}

// otherNode is a node with the keys of all CAs.
func (n *fakeNode) otherNode() inventory.Node {
	other := inventory.Node{Name: "cp2", Time: certstest.Now}
	for _, ca := range []certstest.CA{n.tree.CA, n.tree.EtcdCA, n.tree.FrontProxyCA} {
		other.Authorities = append(other.Authorities, inventory.Authority{
			Facts: certs.DescribeCertificate(ca.Cert), ID: certs.AuthorityID(ca.Cert), Paths: []string{"/ca.crt"}, KeyOn: "/ca.key", Status: certs.OK})
	}
	return other
}

// signedElsewhere is what another node answers, which has the keys that this one hides.
func (n *fakeNode) signedElsewhere(csr nodeapi.CSR) *nodeapi.Issued {
	n.t.Helper()
	name, _, _ := strings.Cut(csr.TargetID[strings.Index(csr.TargetID, "/")+1:], "@")
	issuer := issuerFor(name)
	out := &nodeapi.Issued{TargetID: csr.TargetID, SignedBy: "cp2"}
	chain, err := issue.SignForNode(n.t.Context(), n.tree.Root, nodeapi.SignRequest{
		Node: "cp1", ControlPlane: true, CSR: csr, CACert: issuer.CACert, CAKey: issuer.CAKey}, n.clock())
	if err != nil {
		out.Error = err.Error()
	} else {
		out.PEM = string(certs.EncodePEM(chain...))
	}
	return out
}

// signElsewhere has another node sign all requests, as the plugin or the watcher does.
func (r *records) signElsewhere(n *fakeNode) {
	before := r.hook
	r.hook = func(rec nodeapi.Record) {
		if before != nil {
			before(rec)
		}
		if rec.Kind == nodeapi.CSRNeeded {
			n.putOrder(nodeapi.Order{Kind: nodeapi.OrderIssued, Issued: n.signedElsewhere(*rec.CSR)})
		}
	}
}

func TestAnotherNodeSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.elsewhere[certs.Etcd] = true
		r := rotateAll(n, plan.RestartAlways, certs.Etcd)
		n.isAll(true, certs.Etcd)
		if got := len(r.recordsOf(nodeapi.CSRNeeded)); got != 3 || r.lastRecord().Kind != nodeapi.Finished {
			t.Errorf("%d requests, records: %s", got, r.kindsText())
		}
		for _, kind := range []nodeapi.Kind{nodeapi.Staged, nodeapi.Committed} {
			renewals := r.recordsOf(kind)[0].Renewals
			if len(renewals) != 3 || slices.ContainsFunc(renewals, func(x inventory.Renewal) bool { return x.SignedBy != "cp2" }) {
				t.Errorf("%s does not say who signed: %+v", kind, renewals)
			}
		}
		n.noSecrets()
	})
}

// TestASignatureOfAnotherNodeSurvivesARestart: the new key waits on the node.
func TestASignatureOfAnotherNodeSurvivesARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.elsewhere[certs.KubeScheduler] = true
		e, r := n.newEngine()
		n.stageServices(plan.RestartAlways, certs.KubeScheduler)
		n.killAt(r, 2)
		if err := runOrders(t, t.Context(), e); !errors.Is(err, errKilled) {
			t.Fatal(err)
		}
		needed := r.recordsOf(nodeapi.CSRNeeded)
		if len(needed) != 1 {
			t.Fatalf("records: %s", r.kindsText())
		}
		n.dead = false
		n.putOrder(nodeapi.Order{Kind: nodeapi.OrderIssued, Issued: n.signedElsewhere(*needed[0].CSR)})
		e, r = n.newEngine()
		r.orderAfter(n, nodeapi.Staged, commitOrder)
		r.orderAfter(n, nodeapi.Committed, finish)
		if err := runOrders(t, t.Context(), e); err != nil {
			t.Fatal(err)
		}
		if len(r.recordsOf(nodeapi.CSRNeeded)) != 0 || r.lastRecord().Kind != nodeapi.Finished {
			t.Errorf("records after the restart: %s", r.kindsText())
		}
		n.isAll(true, certs.KubeScheduler)
	})
}

// TestWhatAnotherNodeSignsIsChecked: it comes from outside of the node.
func TestWhatAnotherNodeSignsIsChecked(t *testing.T) {
	for name, test := range map[string]struct {
		answer func(n *fakeNode, csr nodeapi.CSR) *nodeapi.Issued
		says   string
	}{
		"a refusal": {func(_ *fakeNode, csr nodeapi.CSR) *nodeapi.Issued {
			return &nodeapi.Issued{TargetID: csr.TargetID, Error: "refuse to sign for node \"cp1\": its key is the old one"}
		}, "have a certificate issued: refuse to sign"},
		"another CA of the same name": {func(n *fakeNode, csr nodeapi.CSR) *nodeapi.Issued {
			namesake := certstest.NewCA(n.t, n.tree.CA.Cert.Subject.CommonName)
			return n.signedBy(namesake, csr)
		}, "does not verify with certificate authority"},
		"the old certificate": {func(n *fakeNode, csr nodeapi.CSR) *nodeapi.Issued {
			return &nodeapi.Issued{TargetID: csr.TargetID, PEM: csr.Chain}
		}, "not for the new key"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newFakeNode(t)
				n.elsewhere[certs.KubeScheduler] = true
				before := n.takeSnapshot()
				e, r := n.newEngine()
				n.stageServices(plan.RestartAlways, certs.KubeScheduler)
				r.orderAfter(n, nodeapi.Failed, abandon)
				hook := r.hook
				r.hook = func(rec nodeapi.Record) {
					if rec.Kind == nodeapi.CSRNeeded {
						n.putOrder(nodeapi.Order{Kind: nodeapi.OrderIssued, Issued: test.answer(n, *rec.CSR)})
					}
					hook(rec)
				}
				if err := runOrders(t, t.Context(), e); err != nil {
					t.Fatal(err)
				}
				failed := r.recordsOf(nodeapi.Failed)
				if len(failed) != 1 || !strings.Contains(failed[0].Message, test.says) {
					t.Errorf("records: %s %+v, want %q", r.kindsText(), failed, test.says)
				}
				n.sameAs(before)
				n.stagedIsEmpty()
			})
		})
	}
}

// TestKubeletBelievesOnlyItsOwnCA: what another node signed for a kubelet must be of the CA that this
// node has, while the certificates API may sign with any.
func TestKubeletBelievesOnlyItsOwnCA(t *testing.T) {
	n := newFakeNode(t)
	e, _ := n.newEngine()
	s := &session{Engine: e}
	kubelet := inventory.Certificate{Name: "kubelet-client", Issuer: inventory.Issuer{
		Kind: inventory.KubernetesCSR, Signer: "kubernetes.io/kube-apiserver-client-kubelet",
		CACert: certstest.PKIDir + "/ca.crt", Authority: certs.AuthorityID(n.tree.CA.Cert)}}
	ca, err := s.expectedAuthority(kubelet, "", certstest.Now)
	if err != nil || ca != nil {
		t.Errorf("by the certificates API: %v, %v", ca, err)
	}
	ca, err = s.expectedAuthority(kubelet, "cp2", certstest.Now)
	if err != nil || ca == nil || !ca.Equal(n.tree.CA.Cert) {
		t.Errorf("by another node: %v, %v", ca, err)
	}
	kubelet.Issuer.Authority = certs.AuthorityID(certstest.NewCA(t, "another").Cert)
	if _, err := s.expectedAuthority(kubelet, "cp2", certstest.Now); err == nil {
		t.Error("a CA that this node does not have is accepted")
	}
}

// signedBy is the answer of a node that signs with a CA of its own.
func (n *fakeNode) signedBy(ca certstest.CA, csr nodeapi.CSR) *nodeapi.Issued {
	n.t.Helper()
	request, err := certs.ParseCSR([]byte(csr.PEM))
	if err != nil {
		n.t.Fatal(err)
	}
	template, err := certs.SuccessorTemplate(n.onDisk("scheduler.conf"), certs.Renewal{Now: n.clock(), CA: ca.Cert})
	if err != nil {
		n.t.Fatal(err)
	}
	leaf, err := certs.SignTemplate(template, request.PublicKey, ca.Cert, ca.Key.Signer)
	if err != nil {
		n.t.Fatal(err)
	}
	return &nodeapi.Issued{TargetID: csr.TargetID, PEM: string(certs.EncodePEM(leaf)), SignedBy: "cp2"}
}

// TestByHandNoOtherNodeSigns: no other node can be asked then.
func TestByHandNoOtherNodeSigns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.elsewhere[certs.KubeScheduler] = true
		e, _ := n.newEngine()
		e.Alone = true
		err := e.RotateByHand(t.Context(), plan.Request{Services: []certs.Service{certs.KubeScheduler}, Restart: plan.RestartAlways})
		var refused *plan.RefusedError
		if !errors.As(err, &refused) {
			t.Error(err)
		}
	})
}
