package plan_test

import (
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rotated is a node of which every certificate is that of a finished rotation.
func rotated(n inventory.Node) inventory.Node {
	n.Time = now
	r := inventory.NodeRotation{ID: "7f3c2a", Scope: "services=etcd", StartTime: now.Add(-time.Hour), State: inventory.Finished, Backup: true}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		old := c.Facts
		old.NotAfter = now.Add(30 * 24 * time.Hour)
		c.FingerprintSHA256 = "new-" + c.Name
		c.NotAfter = now.Add(365 * 24 * time.Hour)
		r.Renewed = append(r.Renewed, inventory.Renewal{ID: c.ID(), Old: old, New: c.Facts})
	}
	n.Rotations = []inventory.NodeRotation{r}
	return n
}

func rollbackRequest(nodes ...string) plan.Request {
	return plan.Request{Services: certs.Services(), Restart: plan.RestartAlways, RollbackOf: "7f3c2a", Nodes: nodes}
}

func TestARollbackPlansTheOldCertificatesOfEveryNode(t *testing.T) {
	p := buildPlan(t, rollbackRequest(), rotated(newWorker("w1")), rotated(controlPlane("cp1")), controlPlane("cp2"))
	require.Len(t, p.Waves, 2, "cp2 has no part in the rotation")
	step := p.Waves[0].Steps[0]
	assert.Equal(t, "cp1", step.Node)
	assert.Equal(t, "7f3c2a", step.RollbackOf)
	assert.Equal(t, []certs.Service{certs.Etcd, certs.Kubelet, certs.KubeAPIServer}, step.Restarts)
	assert.Contains(t, step.Directories, "/pki/etcd")
	target := step.Targets[0]
	assert.Equal(t, "new-etcd-server", target.OldFingerprint)
	assert.Equal(t, "old-etcd-server", target.NewFingerprint)
	assert.Equal(t, now.Add(30*24*time.Hour), target.NewNotAfter)
	assert.Equal(t, plan.FromBackup, target.Issuer)
	assert.Empty(t, p.LeftOut)
	assert.Equal(t, "w1", p.Waves[1].Steps[0].Node)

	p = buildPlan(t, rollbackRequest("w1"), rotated(newWorker("w1")), rotated(controlPlane("cp1")))
	require.Len(t, p.AllSteps(), 1)
	assert.Equal(t, "w1", p.AllSteps()[0].Node)
}

func TestWhatCannotBePutBackIsLeftOut(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(n *inventory.Node)
		reason string
	}{
		"expired": {func(n *inventory.Node) { n.Rotations[0].Renewed[0].Old.NotAfter = now },
			"the certificate from before rotation 7f3c2a expired 2026-11-24T09:00:00Z"},
		"renewed by a later rotation": {func(n *inventory.Node) {
			c := &n.Certificates[0]
			c.FingerprintSHA256 = "newer"
			n.Rotations = append(n.Rotations, inventory.NodeRotation{ID: "bbbbbb", Renewed: []inventory.Renewal{{ID: c.ID(), New: c.Facts}}})
		}, "rotation bbbbbb has replaced it since: roll that one back first"},
		"replaced by another program": {func(n *inventory.Node) {
			n.Certificates[0].FingerprintSHA256 = "other"
			n.Certificates[0].SerialNumber = "0a"
		}, "another program has replaced it since rotation 7f3c2a: it is now certificate 0a, valid until 2027-11-24T09:00:00Z"},
		"no longer there": {func(n *inventory.Node) { n.Certificates = n.Certificates[1:] }, "it is no longer on this node"},
		"renewed by the restart of a unit": {func(n *inventory.Node) {
			n.Certificates[0].Issuer = inventory.Issuer{Kind: inventory.UnitStart, Unit: "k0scontroller.service"}
		}, "a restart of k0scontroller.service made it and overwrote the earlier one"},
		"another CA": {func(n *inventory.Node) {
			n.Certificates[0].Facts.Issuer = "CN=ca-2"
			n.Rotations[0].Renewed[0].New.Issuer = "CN=ca-2"
			n.Rotations[0].Renewed[0].Old.Issuer = "CN=ca-1"
			n.Authorities = []inventory.Authority{{Facts: certs.Facts{Subject: "CN=ca-2"}}}
		}, `the CA of the earlier certificate, "CN=ca-1", is no longer on this node`},
		"a key file that another certificate uses": {func(n *inventory.Node) {
			n.Certificates[0].KeyFile = "/pki/shared.key"
			other := newPair(certs.KubeAPIServer, "apiserver-etcd-client", "/pki")
			other.KeyFile = "/pki/shared.key"
			n.Certificates = append(n.Certificates, other)
		}, `its key lies in "/pki/shared.key" together with that of apiserver-etcd-client "/pki/apiserver-etcd-client.crt", which is not put back`},
		"a component that nothing can restart": {func(n *inventory.Node) { n.Components[0].Runtime = inventory.None },
			"etcd: was started by something unknown; nothing here can restart it; use --restart=never and restart it yourself"},
	} {
		t.Run(name, func(t *testing.T) {
			n := rotated(controlPlane("cp1"))
			tt.change(&n)
			p := buildPlan(t, rollbackRequest(), n)
			require.NotEmpty(t, p.LeftOut)
			assert.Equal(t, "etcd-server", p.LeftOut[0].Name)
			assert.Equal(t, tt.reason, p.LeftOut[0].Reason)
			assert.NotEmpty(t, p.AllSteps()[0].Targets, "the others are put back")

			req := rollbackRequest()
			req.RequireAll = true
			_, err := plan.BuildPlan([]inventory.Node{n}, req, nil)
			var refused *plan.RefusedError
			require.ErrorAs(t, err, &refused)
			assert.ErrorContains(t, err, "cannot be put back, so nothing was changed")
		})
	}
}

func TestARollbackIsRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(n *inventory.Node)
		want   string
	}{
		"unknown":            {func(n *inventory.Node) { n.Rotations = nil }, `roll back rotation "7f3c2a": no node in scope has it in its journal; nothing was changed`},
		"compromised":        {func(n *inventory.Node) { n.Rotations[0].Scope = "services=etcd;compromised" }, "it replaced compromised keys"},
		"renewed nothing":    {func(n *inventory.Node) { n.Rotations[0].Renewed = nil }, "no certificate that it has renewed is in use"},
		"no backup anywhere": {func(n *inventory.Node) { n.Rotations[0].Backup = false }, "the node no longer keeps the files that rotation 7f3c2a has replaced"},
		"old ones in use": {func(n *inventory.Node) {
			for i := range n.Certificates {
				n.Certificates[i].FingerprintSHA256 = n.Rotations[0].Renewed[i].Old.FingerprintSHA256
			}
		}, "no certificate that it has renewed is in use"},
		"interrupted on the node": {func(n *inventory.Node) {
			n.Rotations[0].State = inventory.Committing
		}, "rotation 7f3c2a did not finish on this node (Committing)"},
	} {
		t.Run(name, func(t *testing.T) {
			n := rotated(controlPlane("cp1"))
			tt.change(&n)
			_, err := plan.BuildPlan([]inventory.Node{n}, rollbackRequest(), nil)
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestARollbackIsContinued(t *testing.T) {
	n := rotated(newWorker("w1"))
	c := &n.Certificates[0]
	r := n.Rotations[0].Renewed[0]
	c.Facts = r.Old // the interrupted rollback was done here
	n.Rotations = append(n.Rotations, inventory.NodeRotation{ID: "cccccc", Scope: rollbackRequest().ScopeText(), StartTime: now, State: inventory.Committed,
		Renewed: []inventory.Renewal{{ID: r.ID, Old: r.New, New: r.Old}}})
	nodes := []inventory.Node{n, rotated(newWorker("w2"))}
	unfinished := plan.FindUnfinished(nodes, rollbackRequest().ScopeText(), now, "")
	require.NotNil(t, unfinished)
	assert.Equal(t, "cccccc", unfinished.ID)
	p, err := plan.BuildPlan(nodes, rollbackRequest(), unfinished)
	require.NoError(t, err)
	steps := p.AllSteps()
	require.Len(t, steps, 2)
	assert.True(t, steps[0].IsIdle())
	assert.Len(t, steps[1].Targets, 1)
	assert.Empty(t, p.LeftOut)
}

func TestARollbackIsRecognisedByItsScope(t *testing.T) {
	req := rollbackRequest("w2", "w1")
	assert.Equal(t, "rollback=7f3c2a;nodes=w1,w2", req.ScopeText())
	n := newWorker("w1")
	n.Rotations = []inventory.NodeRotation{{ID: "cccccc", Scope: req.ScopeText(), StartTime: now, State: inventory.Staged, Services: []certs.Service{certs.Kubelet}}}
	got := plan.RotationsOf([]inventory.Node{n}, false, now)
	require.Len(t, got, 1)
	assert.Equal(t, "7f3c2a", got[0].RollbackOf)
	assert.Equal(t, []certs.Service{certs.Kubelet}, got[0].Services)
	assert.Equal(t, []string{"w1", "w2"}, got[0].Only)
	assert.True(t, got[0].Continued)
	assert.Equal(t, "rollback 7f3c2a --node w1,w2", got[0].CommandArgs())

	for _, odd := range []string{"rollback=$(id)", "rollback=7f3c2a;nodes=$(id)"} {
		n.Rotations[0].Scope = odd
		got := plan.RotationsOf([]inventory.Node{n}, false, now)
		assert.Empty(t, got[0].RollbackOf, odd)
		assert.Empty(t, got[0].CommandArgs(), odd)
	}
}

// TestARollbackNeedsNoSignature: also where another node has signed.
func TestARollbackNeedsNoSignature(t *testing.T) {
	p := buildPlan(t, rollbackRequest("cp1"), rotated(withKeyElsewhere(controlPlane("cp1"))), withKey(newWorker("w1"), nil))
	require.NotEmpty(t, p.AllSteps()[0].Targets)
	for _, target := range p.AllSteps()[0].Targets {
		assert.Equal(t, plan.FromBackup, target.Issuer, target.Name)
		assert.Empty(t, target.SignedBy, target.Name)
	}
}
