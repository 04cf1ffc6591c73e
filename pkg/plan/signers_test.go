package plan_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const etcdCA = "id of etcd-ca"

// withKeyElsewhere makes the certificates of etcd on a node ones that only another node can sign.
func withKeyElsewhere(n inventory.Node) inventory.Node {
	for _, name := range []string{"etcd-server", "etcd-peer"} {
		c := withoutIssuer(&n, name)
		c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Authority: etcdCA, CACert: "/pki/etcd/ca.crt", Reason: c.Reason}
	}
	return n
}

// withKey gives a node the key of etcd's CA.
func withKey(n inventory.Node, change func(*inventory.Authority)) inventory.Node {
	n.Time = now
	a := inventory.Authority{ID: etcdCA, Name: "etcd-ca", Paths: []string{"/pki/etcd/ca.crt"}, KeyOn: "/pki/etcd/ca.key", Status: certs.OK,
		Facts: certs.Facts{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour)}}
	if change != nil {
		change(&a)
	}
	n.Authorities = []inventory.Authority{a}
	return n
}

func TestCertificatesAreSignedWhereTheKeyOfTheirCAIs(t *testing.T) {
	req := newRequest(certs.Etcd)
	req.Nodes = []string{"cp1", "cp3"} // also where that node is out of scope
	p := buildPlan(t, req, withKeyElsewhere(controlPlane("cp1")), withKey(controlPlane("cp2"), nil), withKey(controlPlane("cp3"), nil))

	require.Empty(t, p.LeftOut)
	require.Equal(t, []string{"cp1/etcd-server", "cp1/etcd-peer", "cp3/etcd-server", "cp3/etcd-peer"}, targetNames(p))
	there := p.AllSteps()[0].Targets[0]
	assert.Equal(t, string(inventory.OtherNode), there.Issuer)
	assert.Equal(t, []string{"cp2", "cp3"}, there.SignedBy)
	own := p.AllSteps()[1].Targets[0]
	assert.Equal(t, string(inventory.LocalCA), own.Issuer)
	assert.Empty(t, own.SignedBy)
}

func TestCertificatesWhoseCAHasNoKeyAreLeftOut(t *testing.T) {
	for name, change := range map[string]func(*inventory.Authority){
		"no key":                      func(a *inventory.Authority) { a.KeyOn = "" },
		"another CA of the same name": func(a *inventory.Authority) { a.ID = "another id" },
		"an expired CA":               func(a *inventory.Authority) { a.NotAfter = now },
		"a CA that is not valid yet":  func(a *inventory.Authority) { a.NotBefore = now.Add(time.Minute) },
		"a CA that may not sign":      func(a *inventory.Authority) { a.Status = certs.Invalid },
	} {
		t.Run(name, func(t *testing.T) {
			p := buildPlan(t, newRequest(certs.Etcd), withKeyElsewhere(controlPlane("cp1")), withKey(controlPlane("cp2"), change))
			require.Len(t, p.LeftOut, 2)
			assert.Equal(t, "cp1", p.LeftOut[0].Node)
			assert.Equal(t, "the key of its CA is not here", p.LeftOut[0].Reason)
			assert.Equal(t, []string{"cp2/etcd-server", "cp2/etcd-peer"}, targetNames(p))
		})
	}
}

// TestNoOtherNodeSignsForeignIdentities: a compromised worker could hold an expired certificate of
// an administrator, or of another kubelet.
func TestNoOtherNodeSignsForeignIdentities(t *testing.T) {
	w := newWorker("w1")
	c := &w.Certificates[0]
	c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Authority: etcdCA, Reason: "not here"}
	c.Reason = "expired; not here"
	c.Subject = "CN=kubernetes-admin,O=system:masters"
	w.Certificates = append(w.Certificates, newPair(certs.Kubelet, "kubelet-server", "/kubelet"))
	p := buildPlan(t, newRequest(certs.Kubelet), w, withKey(controlPlane("cp2"), nil))
	require.Len(t, p.LeftOut, 1)
	assert.Contains(t, p.LeftOut[0].Reason, `expired; cannot be renewed: the key of its CA is on cp2, and its group "system:masters"`)

	w.Known.ControlPlane = true
	p = buildPlan(t, newRequest(certs.Kubelet), w, withKey(controlPlane("cp2"), nil))
	assert.Empty(t, p.LeftOut)
}

func TestFindSignersChangesNoInventory(t *testing.T) {
	nodes := []inventory.Node{withKeyElsewhere(controlPlane("cp1")), withKey(controlPlane("cp2"), nil)}
	found := plan.FindSigners(nodes)
	assert.Equal(t, inventory.OtherNode, found[0].Certificates[0].Issuer.Kind)
	assert.Empty(t, found[0].Certificates[0].Reason)
	assert.Equal(t, inventory.NoIssuer, nodes[0].Certificates[0].Issuer.Kind)
	assert.Equal(t, "the key of its CA is not here", nodes[0].Certificates[0].Reason)
}

// TestAKeyFileOfSeveralIsNotSignedElsewhere: each certificate is requested for a key of its own.
func TestAKeyFileOfSeveralIsNotSignedElsewhere(t *testing.T) {
	n := withKeyElsewhere(controlPlane("cp1"))
	for i := range n.Certificates[:2] {
		n.Certificates[i].KeyFile = "/pki/etcd/both.key"
	}
	_, err := plan.BuildPlan([]inventory.Node{n, withKey(newWorker("w1"), nil)}, newRequest(certs.Etcd), nil)
	assert.ErrorContains(t, err, "is signed on request for a key of its own")
}
