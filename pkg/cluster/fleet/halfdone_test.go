package fleet_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// interrupt leaves a node between old and new.
func interrupt(c *cluster, nodes ...string) {
	for _, n := range nodes {
		c.nodes[n].inventory.Rotations = []inventory.NodeRotation{{ID: "abcdef", State: inventory.Committing}}
	}
}

func TestInterruptedControlPlaneNodeIsUndoneOnlyWhileTheOthersAreHealthy(t *testing.T) {
	c := newCluster(3, 0)
	interrupt(c, "cp1")
	c.nodes["cp2"].unhealthy = "[-]etcd failed"
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp1: it was interrupted, and the cluster is not healthy enough to undo that")
	assert.False(t, c.did("open cp1"))

	c = newCluster(3, 0)
	interrupt(c, "cp1")
	c.nodes["cp3"].down = true
	_, err = rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.False(t, c.did("open cp1"), "its etcd member is needed for the quorum")
}

func TestWhatIsWrongOnAnInterruptedNodeDoesNotKeepItFromBeingUndone(t *testing.T) {
	c := newCluster(3, 0)
	interrupt(c, "cp1")
	c.nodes["cp1"].unhealthy, c.nodes["cp1"].down = "connection refused", true
	c.nodes["cp1"].onStage = func() { c.nodes["cp1"].unhealthy, c.nodes["cp1"].down = "", false }
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.Less(t, c.index("open cp2"), c.index("open cp1"))
	assert.Less(t, c.index("Stage cp1"), c.index("Commit cp2"))
}

func TestInterruptedNodesAreUndoneOneByOne(t *testing.T) {
	c := newCluster(3, 0)
	interrupt(c, "cp1", "cp2")
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.Less(t, c.index("open cp3"), c.index("open cp1"))
	assert.Less(t, c.index("Stage cp1"), c.index("open cp2"), "the first is undone when its staging is answered")

	c = newCluster(3, 0)
	interrupt(c, "cp1", "cp2", "cp3")
	c.nodes["cp1"].onStage = func() { c.nodes["cp3"].unhealthy = "[-]etcd failed" }
	_, err = rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.True(t, c.did("open cp1"), "there was no other node to ask")
	assert.False(t, c.did("open cp2"))
}

func TestInterruptedOnlyControlPlaneNodeIsUndone(t *testing.T) {
	c := newCluster(1, 0)
	interrupt(c, "cp1")
	c.nodes["cp1"].unhealthy = "connection refused"
	c.nodes["cp1"].onStage = func() { c.nodes["cp1"].unhealthy = "" }
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.True(t, c.did("Commit cp1"))
}

// The scan finds new files on an interrupted node, which its process then takes back.
func TestInterruptedNodeIsPlannedAnewOnceItIsUndone(t *testing.T) {
	for name, workers := range map[string]int{"cp1": 0, "w1": 1} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, workers)
			interrupt(c, name)
			n := c.nodes[name]
			cert := &n.inventory.Certificates[0]
			old := cert.FingerprintSHA256
			cert.FingerprintSHA256 = "new-" + old
			n.onStage = func() { cert.FingerprintSHA256 = old }
			report, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
				for i := range o.Scanned { // what is scanned does not change afterwards
					o.Scanned[i].Certificates = slices.Clone(o.Scanned[i].Certificates)
				}
			})
			require.NoError(t, err)
			assert.Equal(t, 2, c.times("Stage "+name))
			at := slices.IndexFunc(report.Items, func(i v1alpha1.RotationItem) bool { return i.Node == name })
			assert.Equal(t, old, report.Items[at].Certificates[0].Old.FingerprintSHA256)
		})
	}
}

// TestAgreedPlanIsNotReplacedOnAnInterruptedNode once its process has put old files back.
func TestAgreedPlanIsNotReplacedOnAnInterruptedNode(t *testing.T) {
	for name, workers := range map[string]int{"cp1": 0, "w1": 1} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, workers)
			interrupt(c, name)
			cert := &c.nodes[name].inventory.Certificates[0]
			old := cert.FingerprintSHA256
			cert.FingerprintSHA256 = "new-" + old
			c.nodes[name].onStage = func() { cert.FingerprintSHA256 = old }
			_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
				o.OnlyPlanned = true
				for i := range o.Scanned {
					o.Scanned[i].Certificates = slices.Clone(o.Scanned[i].Certificates)
				}
			})
			require.ErrorIs(t, err, fleet.ErrStopped)
			assert.Contains(t, err.Error(), name+": it has changed since the plan; nothing was renewed there")
			assert.Contains(t, err.Error(), "next: plan again")
			assert.Equal(t, 1, c.times("Stage "+name))
			assert.False(t, c.did("Commit "+name))
		})
	}
}

// TestUndoneNodeCountsAsChanged though the rotation itself has replaced nothing.
func TestUndoneNodeCountsAsChanged(t *testing.T) {
	c := newCluster(3, 0)
	interrupt(c, "cp1")
	c.nodes["cp1"].stage = nodeapi.Failed
	_, err := rotate(t.Context(), t, c, nil)
	var stop *fleet.StopError
	require.ErrorAs(t, err, &stop)
	assert.True(t, stop.Changed)
}

// A worker whose pod does not start, while the plan is made anew for an interrupted node.
// The race detector sees whether the two share the plan.
func TestPlannedAnewWhileAWorkerIsOpened(t *testing.T) {
	c := newCluster(3, 1)
	interrupt(c, "cp1")
	cert := &c.nodes["cp1"].inventory.Certificates[0]
	old := cert.FingerprintSHA256
	cert.FingerprintSHA256 = "new-" + old
	c.nodes["cp1"].onStage = func() { cert.FingerprintSHA256 = old }
	scanned := make(chan struct{})
	c.onScan = func() { close(scanned) }
	c.onOpen = func(name string) error {
		if name != "w1" || c.times("open w1") > 1 {
			return nil
		}
		select {
		case <-scanned:
		case <-t.Context().Done():
		}
		return errors.New("the image cannot be pulled")
	}
	_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
		for i := range o.Scanned {
			o.Scanned[i].Certificates = slices.Clone(o.Scanned[i].Certificates)
		}
	})
	require.NoError(t, err)
	assert.Equal(t, 2, c.times("Stage cp1"))
	assert.Equal(t, 2, c.times("open w1"))
}
