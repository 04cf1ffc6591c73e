package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

var noon = time.Date(2026, time.May, 4, 12, 0, 0, 0, time.UTC)

func excluded(node, reason string) plan.NotInspected {
	return plan.NotInspected{Node: node, Reason: reason}
}

func TestOneCauseIsSaidOnce(t *testing.T) {
	err := NoneScanned(nil, []plan.NotInspected{
		excluded("cp1", `pod "kube-system/scan-cp1-9d864a53": cannot pull: 10.0.0.1:5431 refused`),
		excluded("cp2", `pod "kube-system/scan-cp2-91a8893a": cannot pull: 10.0.0.2:612 refused`),
		excluded("win1", "windows/amd64 has no node program"),
	})
	require.ErrorIs(t, err, ErrNoNode)
	assert.EqualError(t, err, "no node could be scanned:\n"+
		`  cp1, cp2: pod "kube-system/scan-cp1-9d864a53": cannot pull: 10.0.0.1:5431 refused`+"\n"+
		"  win1: windows/amd64 has no node program")
	require.EqualError(t, NoneScanned(nil, nil), "no node could be scanned: the cluster has none")
	require.NoError(t, NoneScanned([]inventory.Node{{}}, []plan.NotInspected{excluded("w1", "NotReady")}))
}

func TestSelectionExcludesUnavailableNodesAndKnowsTheControlPlane(t *testing.T) {
	all := []kubenode.Node{
		{Name: "cp1", Ready: true, OS: "linux", Arch: "arm64", ControlPlane: true}, {Name: "cp2", ControlPlane: true, OS: "linux", Arch: "amd64"},
		{Name: "w1", Ready: true, OS: "linux", Arch: "amd64", Managed: "EKS"}, {Name: "win1", Ready: true, OS: "windows", Arch: "amd64"},
	}
	s, err := Choose(all, nil, noon)
	require.NoError(t, err)
	assert.Equal(t, []string{"cp1", "w1"}, s.Names)
	windows := excluded("win1", "windows/amd64 has no node program")
	windows.Informational = true
	assert.Equal(t, []plan.NotInspected{excluded("cp2", "NotReady"), windows}, s.Excluded)
	assert.Equal(t, "EKS", s.Managed)

	s, err = Choose(all, []string{"w1"}, noon)
	require.NoError(t, err)
	assert.Equal(t, []string{"cp1", "w1"}, s.withControlPlane(all, noon), "cp2 is NotReady, so it is not scanned")
	assert.Empty(t, s.Excluded, "who was not asked for is not listed")

	_, err = Choose(all, []string{"w2"}, noon)
	var unknown *kubenode.UnknownError
	require.ErrorAs(t, err, &unknown)
}

func TestNodesAreSelectedByTheirLabels(t *testing.T) {
	all := []kubenode.Node{{Name: "w1", Labels: map[string]string{"env": "test"}}, {Name: "w2", Labels: map[string]string{"env": "prod"}}, {Name: "w3"}}
	for selector, want := range map[string][]string{"env=test": {"w1"}, "env!=test": {"w2", "w3"}, "env in (test,prod)": {"w1", "w2"}, "!env": {"w3"}} {
		names, err := Matching(all, selector)
		require.NoError(t, err)
		assert.Equal(t, want, names)
	}
	for _, selector := range []string{"env=lab", "env in", "=="} {
		_, err := Matching(all, selector)
		require.ErrorIs(t, err, ErrSelector)
		assert.ErrorContains(t, err, "no node is selected by \""+selector+`"`)
	}
}

// An automatic rotation continues without nodes that the cluster no longer has.
func TestNodeThatNoLongerExistsIsExcluded(t *testing.T) {
	left, missing := splitExisting([]kubenode.Node{{Name: "w1"}, {Name: "w2"}}, []string{"w1", "w3"})
	assert.Equal(t, []string{"w1"}, left)
	assert.Equal(t, []plan.NotInspected{excluded("w3", "the cluster has no node of this name")}, missing)
	left, missing = splitExisting([]kubenode.Node{{Name: "w1"}}, nil)
	assert.Empty(t, left)
	assert.Empty(t, missing)
}
