package fleet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// theCA is the id of the CA in these tests.
const theCA = "id of the CA"

// withoutKey leaves the key of the CA that signed a node's first certificate to the other
// control-plane nodes.
func (c *cluster) withoutKey(t *testing.T, name string) *node {
	t.Helper()
	n := c.nodes[name]
	old := certstest.NewCA(t, "ca").Leaf(t).Leaf()
	cert := &n.inventory.Certificates[0]
	cert.FingerprintSHA256 = certs.Fingerprint(old)
	cert.Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Authority: theCA, CACert: "/pki/ca.crt", Reason: "its key is not here"}
	cert.Reason = "its key is not here"
	n.csr = &nodeapi.Record{Kind: nodeapi.CSRNeeded, CSR: &nodeapi.CSR{TargetID: cert.ID(), Authority: theCA, Chain: string(certs.EncodePEM(old))}}
	n.inventory.Authorities = nil
	for _, other := range c.nodes {
		if other != n && other.inventory.ComponentOf(certs.Etcd) != nil && other.csr == nil {
			other.inventory.Authorities = []inventory.Authority{{ID: theCA, Paths: []string{"/pki/ca.crt"}, KeyOn: "/pki/ca.key",
				Facts: certs.Facts{NotAfter: time.Now().Add(time.Hour)}}}
		}
	}
	return n
}

// rotateWorkers rotates the kubelets of the workers only, two at a time.
func rotateWorkers(t *testing.T, c *cluster, change func(*fleet.Options), names ...string) (*v1alpha1.RotationReport, error) {
	t.Helper()
	request := plan.Request{Services: []certs.Service{certs.Kubelet}, Restart: plan.RestartAlways, Nodes: names}
	p, err := plan.BuildPlan(c.inventories(), request, nil)
	require.NoError(t, err)
	return rotate(t.Context(), t, c, func(o *fleet.Options) {
		o.Request = request
		o.Plan = p
		if change != nil {
			change(o)
		}
	})
}

func TestANodeWithTheKeySigns(t *testing.T) {
	c := newCluster(2, 0)
	n := c.withoutKey(t, "cp2")
	n.inventory.Known.ControlPlane = true
	_, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Request.Validity = time.Hour })
	require.NoError(t, err)
	assert.Equal(t, "cp1", n.signedBy)
	require.Len(t, c.nodes["cp1"].signed, 1)
	request := c.nodes["cp1"].signed[0]
	assert.Equal(t, nodeapi.SignRequest{Node: "cp2", ControlPlane: true, CSR: *n.csr.CSR, CACert: "/pki/ca.crt", CAKey: "/pki/ca.key", ValiditySeconds: 3600}, request)
	assert.False(t, c.did("issue for cp2"), "the certificates API has no part in it")
	assert.Equal(t, 1, c.times("open cp1"), "its own session signs")
}

// TestANodeThatIsNotRotatedSigns: only workers are in scope.
func TestANodeThatIsNotRotatedSigns(t *testing.T) {
	c := newCluster(1, 3)
	for _, w := range []string{"w1", "w2"} {
		c.withoutKey(t, w)
	}
	_, err := rotateWorkers(t, c, nil, "w1", "w2")
	require.NoError(t, err)
	assert.Equal(t, 1, c.times("open cp1"), "one session for both")
	assert.Equal(t, 1, c.times("sign on cp1 for w1"))
	assert.Equal(t, 1, c.times("sign on cp1 for w2"))
	assert.True(t, c.did("Abandon cp1"), "its process is released")
	assert.False(t, c.did("Stage cp1") || c.did("Finish cp1"), "nothing is rotated there")
	assert.False(t, c.did("open w3"))
}

// TestASignerWhoseProcessHasEndedIsOpenedAgain: its pod has a deadline.
func TestASignerWhoseProcessHasEndedIsOpenedAgain(t *testing.T) {
	c := newCluster(1, 1)
	c.withoutKey(t, "w1")
	signer := c.nodes["cp1"]
	signer.refuses = "its process has ended"
	c.onOpen = func(name string) error {
		if name == "cp1" && len(signer.signed) == 1 {
			signer.refuses = ""
		}
		return nil
	}
	_, err := rotateWorkers(t, c, nil, "w1")
	require.NoError(t, err)
	assert.Equal(t, 2, c.times("open cp1"))
	assert.Equal(t, 2, c.times("sign on cp1 for w1"))
	assert.Equal(t, 1, c.times("Abandon cp1"), "it is released once")
}

func TestAnotherNodeSignsWhereOneRefuses(t *testing.T) {
	c := newCluster(3, 0)
	n := c.withoutKey(t, "cp3")
	c.nodes["cp1"].refuses = "disk full"
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.Equal(t, "cp2", n.signedBy)
	assert.Equal(t, 1, c.times("sign on cp1 for cp3"))
}

func TestAStagingThatNoNodeSignsFails(t *testing.T) {
	c := newCluster(3, 0)
	c.withoutKey(t, "cp3")
	c.nodes["cp1"].refuses = "disk full"
	c.nodes["cp2"].refuses = "its key is the old one"
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp1: disk full; cp2: its key is the old one")
	assert.False(t, c.did("Commit cp1"), "nothing is changed anywhere")
}

// TestAnInterruptedNodeIsNotOpenedToSign: its process would put files back.
func TestAnInterruptedNodeIsNotOpenedToSign(t *testing.T) {
	c := newCluster(2, 1)
	c.withoutKey(t, "w1")
	c.nodes["cp1"].inventory.Rotations = []inventory.NodeRotation{{ID: "another", State: inventory.Committing}}
	_, err := rotateWorkers(t, c, nil, "w1")
	require.NoError(t, err)
	assert.False(t, c.did("open cp1"))
	assert.Equal(t, "cp2", c.nodes["w1"].signedBy)
}

// TestARequestForAnotherCertificateIsRefused: a compromised node could ask for one that it has copied.
func TestARequestForAnotherCertificateIsRefused(t *testing.T) {
	for name, change := range map[string]func(*node){
		"not the scanned certificate": func(n *node) { n.csr.CSR.Chain = string(certstest.NewCA(t, "ca").Leaf(t).CertPEM()) },
		"no target of its step":       func(n *node) { n.csr.CSR.TargetID = "etcd/another@/pki/another.crt" },
		"one that it can sign itself": func(n *node) { n.csr.CSR.TargetID = n.inventory.Certificates[1].ID() },
		"no certificate":              func(n *node) { n.csr.CSR.Chain = "" },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(2, 0)
			n := c.withoutKey(t, "cp2")
			change(n)
			_, err := rotate(t.Context(), t, c, nil)
			require.ErrorIs(t, err, fleet.ErrStopped)
			assert.Contains(t, err.Error(), `refuse the request of node "cp2"`)
			assert.Empty(t, c.nodes["cp1"].signed)
		})
	}
}

// TestKubeletsAreSignedByANodeOrTheAPI: a kubelet whose identity has expired cannot request itself.
func TestKubeletsAreSignedByANodeOrTheAPI(t *testing.T) {
	for name, tt := range map[string]struct {
		refuses  string
		signedBy string
		issued   int
	}{"by a node": {"", "cp1", 0}, "by the API where no node does": {"disk full", "", 1}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(1, 1)
			n := c.withoutKey(t, "w1")
			n.inventory.Certificates[0].Issuer = inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: "kubernetes.io/kube-apiserver-client-kubelet", Authority: theCA}
			n.csr.CSR.Signer = "kubernetes.io/kube-apiserver-client-kubelet"
			c.nodes["cp1"].refuses = tt.refuses
			_, err := rotate(t.Context(), t, c, nil)
			require.NoError(t, err)
			assert.Equal(t, tt.signedBy, n.signedBy)
			assert.Equal(t, tt.issued, c.times("issue for w1"))
		})
	}
}

// TestARecoveryOpensANodeToSign: there is no API that could.
func TestARecoveryOpensANodeToSign(t *testing.T) {
	c := newCluster(1, 1)
	n := c.withoutKey(t, "w1")
	n.inventory.Certificates[0].Issuer = inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: "x", Authority: theCA}
	n.csr.CSR.Signer = "x"
	_, err := rotateWorkers(t, c, func(o *fleet.Options) { o.Request.Recover = true }, "w1")
	require.NoError(t, err)
	assert.Equal(t, "cp1", n.signedBy)
	assert.Zero(t, c.times("issue for w1"))
}

// TestTheAPIIssuesWhereNoNodeIsOpen: no pod is started on a node that is not rotated.
func TestTheAPIIssuesWhereNoNodeIsOpen(t *testing.T) {
	c := newCluster(1, 1)
	n := c.withoutKey(t, "w1")
	n.inventory.Certificates[0].Issuer = inventory.Issuer{Kind: inventory.KubernetesCSR, Signer: "x", Authority: theCA}
	n.csr.CSR.Signer = "x"
	_, err := rotateWorkers(t, c, nil, "w1")
	require.NoError(t, err)
	assert.False(t, c.did("open cp1"))
	assert.Equal(t, 1, c.times("issue for w1"))
}
