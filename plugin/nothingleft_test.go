package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestRotationWithoutItsLastNodesIsNotContinuedSilently: the nodes that had recorded the end of a
// rotation were removed. The same command says that nothing is left, unless a node is.
func TestRotationWithoutItsLastNodesIsNotContinuedSilently(t *testing.T) {
	req := plan.Request{Services: []certs.Service{certs.Kubelet}, Restart: plan.RestartAlways, MaxUnavailable: "1"}
	c := leaf(certs.Kubelet, "kubelet-server", "kubernetes", 300*day)
	c.Issuer.Kind = inventory.LocalCA
	done := inventory.Node{Name: "w1", Certificates: []inventory.Certificate{c}, Rotations: []inventory.NodeRotation{{ID: "7f3c2a", Scope: req.ScopeText(),
		StartTime: noon.Add(-time.Hour), State: inventory.Committed, Renewed: []inventory.Renewal{{ID: c.ID(), New: c.Facts}}}}}
	for _, test := range []struct {
		nodes []inventory.Node
		want  string
	}{
		{[]inventory.Node{done}, "Nothing is left of rotation 7f3c2a: every node in its scope that is there has its new certificates. From 2026-11-25 11:00 UTC on"},
		{[]inventory.Node{done, {Name: "w2", Certificates: []inventory.Certificate{c}}}, ""},
	} {
		p := fleet.Rotation{ID: "7f3c2a", Unfinished: plan.FindUnfinished(test.nodes, req.ScopeText(), noon, "")}
		var err error
		p.Plan, err = plan.BuildPlan(test.nodes, req, p.Unfinished)
		require.NoError(t, err)
		if test.want == "" {
			assert.Empty(t, nothingLeft(p))
			continue
		}
		assert.Contains(t, nothingLeft(p), test.want)
	}
}
