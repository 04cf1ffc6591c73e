package fleet

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestMachinesOfClusterAPIAreNamed(t *testing.T) {
	step := func(node string, controlPlane bool) plan.Step {
		return plan.Step{Node: node, ControlPlane: controlPlane, Targets: []plan.Target{{ID: "x"}}}
	}
	p := plan.Plan{Waves: []plan.Wave{{Steps: []plan.Step{step("cp1", true), {Node: "cp2", ControlPlane: true}, step("cp3", true), step("cp4", true), step("w1", false)}}}}
	all := []kubenode.Node{
		{Name: "cp1", ClusterAPI: "prod"}, {Name: "cp2", ClusterAPI: "prod"}, {Name: "cp3", ClusterAPI: "prod"}, {Name: "cp4"}, {Name: "w1", ClusterAPI: "prod"},
	}
	notes := clusterAPINotes(all, p)
	require.Len(t, notes, 1)
	assert.Contains(t, notes[0], `Cluster API (cluster "prod") manages cp1, cp3: `)
	assert.Contains(t, notes[0], "machine.cluster.x-k8s.io/certificates-expiry")
	assert.Empty(t, clusterAPINotes(all[3:4], p))
}
