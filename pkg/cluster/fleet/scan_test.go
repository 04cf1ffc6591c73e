package fleet

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// scans has the inventories of nodes, and remembers which were scanned.
type scans struct {
	nodes []inventory.Node
	asked [][]string
}

func (s *scans) Scan(_ context.Context, names []string) ([]inventory.Node, []plan.NotInspected, error) {
	s.asked = append(s.asked, names)
	var out []inventory.Node
	for _, n := range s.nodes {
		if slices.Contains(names, n.Name) {
			out = append(out, n)
		}
	}
	return out, nil, nil
}

func runs(name string, services ...certs.Service) inventory.Node {
	n := inventory.Node{Name: name}
	for _, s := range services {
		n.Components = append(n.Components, inventory.Component{Service: s})
	}
	return n
}

func TestWithoutLabelsAllNodesAreScannedForTheControlPlane(t *testing.T) {
	ready := func(name string) kubenode.Node {
		return kubenode.Node{Name: name, Ready: true, OS: "linux", Arch: "amd64", Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.9"}}}
	}
	all := []kubenode.Node{ready("cp1"), ready("cp2"), ready("w1")}
	s := &scans{nodes: []inventory.Node{runs("cp1", certs.KubeAPIServer), runs("cp2", certs.KubeAPIServer), runs("w1", certs.Kubelet)}}
	found, _, err := scanAll(t.Context(), s, all, []string{"cp2"}, noon)
	require.NoError(t, err)
	assert.Equal(t, [][]string{{"cp2"}, {"cp1", "w1"}}, s.asked)
	require.Len(t, found, 2, "a worker that was not asked for has no part")
	assert.Equal(t, "cp1", found[1].Name)
	assert.Equal(t, []string{"10.0.0.9"}, found[1].Known.Addresses)
	assert.Equal(t, noon, found[0].Scanned.From)

	s.asked = nil
	_, _, err = scanAll(t.Context(), s, all, []string{"w1"}, noon)
	require.NoError(t, err)
	assert.Len(t, s.asked, 1, "a worker says nothing of where the control plane is")

	s.asked = nil
	all[0].ControlPlane, all[1].ControlPlane = true, true
	found, _, err = scanAll(t.Context(), s, all, []string{"cp1", "cp2"}, noon)
	require.NoError(t, err)
	assert.Len(t, s.asked, 1, "the labels identify the control plane")
	assert.True(t, found[0].Known.ControlPlane)
}

func TestControlPlaneNodesWithoutInventoryAreNamed(t *testing.T) {
	all := []kubenode.Node{
		{Name: "cp1", Ready: true, OS: "linux", Arch: "amd64", ControlPlane: true}, {Name: "cp2", OS: "linux", Arch: "amd64", ControlPlane: true},
		{Name: "cp3", Ready: true, OS: "linux", Arch: "amd64", ControlPlane: true}, {Name: "w1", OS: "linux", Arch: "amd64"},
	}
	got := controlPlaneWithout([]inventory.Node{{Name: "cp1"}}, all, []plan.NotInspected{excluded("cp3", "cannot pull")}, noon)
	assert.Equal(t, []gate.Unscanned{{Node: "cp2", Reason: "NotReady"}, {Node: "cp3", Reason: "cannot pull"}}, got)
}
