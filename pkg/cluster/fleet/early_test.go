package fleet_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// A controller manager that was restarted signs nothing for a while.
func TestFirstWorkersAreSignedBeforeTheControlPlaneRestarts(t *testing.T) {
	c := newCluster(3, 2)
	c.nodes["w1"].csr = &nodeapi.Record{Kind: nodeapi.CSRPosted, CSR: &nodeapi.CSR{Name: "csr-w1"}}
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.True(t, c.did("approve csr-w1 for w1"))
	assert.Less(t, c.index("approve csr-w1 for w1"), c.index("Commit cp1"))
	assert.Equal(t, 1, c.times("Stage w1"))
	assert.Equal(t, 1, c.times("open w1"))
}

// TestInterruptedWorkerIsOpenedInItsTurn since its process undoes what was interrupted, and
// that is a change.
func TestInterruptedWorkerIsOpenedInItsTurn(t *testing.T) {
	c := newCluster(1, 1)
	c.nodes["cp1"].commit = nodeapi.RolledBack
	c.nodes["w1"].inventory.Rotations = []inventory.NodeRotation{{ID: "abcdef", State: inventory.Committing}}
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.False(t, c.did("open w1"))
}

func TestUnhealthyClusterHasNoWorkerStagedEarly(t *testing.T) {
	c := newCluster(3, 1)
	c.nodes["cp2"].unhealthy = "[-]etcd failed"
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Equal(t, 1, c.times("open w1"), "it is opened meanwhile")
	assert.False(t, c.did("Stage w1"))
	assert.True(t, c.did("Abandon w1"))
}

// TestSlowStartOfAWorkerDoesNotDelayItsSignature: its pod starts together with those of the
// control plane, and not only after the gate.
func TestSlowStartOfAWorkerDoesNotDelayItsSignature(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(1, 1)
		c.nodes["w1"].csr = &nodeapi.Record{Kind: nodeapi.CSRPosted, CSR: &nodeapi.CSR{Name: "csr-w1"}}
		c.onOpen = func(string) error {
			time.Sleep(5 * time.Second)
			return nil
		}
		_, err := rotate(t.Context(), t, c, nil)
		require.NoError(t, err)
		assert.Less(t, c.index("approve csr-w1 for w1"), c.index("Commit cp1"))
	})
}

// TestAnswerToAnEarlierOrderIsNotTaken for that of the present one: its staging was given up,
// and the node answers it late.
func TestAnswerToAnEarlierOrderIsNotTaken(t *testing.T) {
	c := newCluster(1, 0)
	cp1 := c.nodes["cp1"]
	cp1.onStage = func() {
		cp1.records = append(cp1.records, nodeapi.Record{Seq: int64(len(cp1.records) + 1), Node: "cp1", Rotation: "7f3c2a",
			Token: c.token, OrderID: "earlier", Kind: nodeapi.Failed})
	}
	_, err := rotate(t.Context(), t, c, nil)
	require.NoError(t, err)
	assert.True(t, c.did("Commit cp1"))
}

// hurdles refuse some attempts to open a session.
type hurdles struct {
	*cluster
	mu     sync.Mutex
	refuse map[string]int
}

func (h *hurdles) Open(ctx context.Context, rotation string, s plan.Step) (fleet.Session, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse[s.Node] > 0 {
		h.refuse[s.Node]--
		return nil, errors.New("image is being pulled")
	}
	return h.cluster.Open(ctx, rotation, s)
}

func rotateThrough(t *testing.T, c *cluster, nodes fleet.Nodes) (*v1alpha1.RotationReport, error) {
	t.Helper()
	p, err := plan.BuildPlan(c.inventories(), everything, nil)
	require.NoError(t, err)
	through := c.asCluster()
	through.Nodes = nodes
	return fleet.Rotate(t.Context(), through, fleet.Options{Rotation: fleet.Rotation{ID: "7f3c2a", Request: everything, Plan: p, Scanned: c.inventories()}})
}

func TestWorkerThatCannotBeStagedEarlyIsTriedInItsTurn(t *testing.T) {
	for _, tt := range []struct {
		name     string
		trouble  func(*cluster, *hurdles)
		wantOpen int
	}{
		{"its pod does not start at first", func(_ *cluster, h *hurdles) { h.refuse["w1"] = 1 }, 1},
		{"its certificate is not signed at first", func(c *cluster, _ *hurdles) { c.nodes["w1"].stageOnce = nodeapi.Failed }, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(3, 1)
			h := &hurdles{cluster: c, refuse: map[string]int{}}
			tt.trouble(c, h)
			report, err := rotateThrough(t, c, h)
			require.NoError(t, err)
			assert.Equal(t, v1alpha1.Succeeded, result(report, "w1"))
			assert.Equal(t, tt.wantOpen, c.times("open w1"))
			assert.True(t, c.did("Commit w1"))
		})
	}
}

func TestSlowSigningOfAWorkerHoldsUpNothingAndIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(1, 1)
		c.signing = time.Minute
		c.nodes["w1"].csr = &nodeapi.Record{Kind: nodeapi.CSRNeeded, CSR: &nodeapi.CSR{TargetID: "kubelet"}}
		_, err := rotate(t.Context(), t, c, nil)
		require.NoError(t, err)
		assert.Less(t, c.index("Commit cp1"), c.index("issue for w1"))
		assert.Equal(t, 1, c.times("Stage w1"))
		assert.True(t, c.did("Commit w1"))
	})
}

func TestWorkerThatCannotBeStagedAtAllStopsOnlyInItsTurn(t *testing.T) {
	c := newCluster(3, 1)
	c.nodes["w1"].stage = nodeapi.Failed
	report, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "w1: its certificates could not be made; nothing was changed there")
	assert.Contains(t, err.Error(), "cp1 cp2 cp3 keep the new, verified certificates")
	assert.Equal(t, v1alpha1.Succeeded, result(report, "cp3"))
	assert.False(t, c.did("Commit w1"))
}

func TestEarlyStageIsRepeatedWhenItIsOld(t *testing.T) {
	c := newCluster(1, 1)
	now := time.Now()
	_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
		o.Now = func() time.Time {
			if c.did("Commit cp1") {
				return now.Add(time.Hour)
			}
			return now
		}
	})
	require.NoError(t, err)
	assert.Equal(t, 2, c.times("Stage w1"))
}

func TestEarlyStageIsAbandonedAfterAFailure(t *testing.T) {
	c := newCluster(1, 1)
	c.nodes["cp1"].commit = nodeapi.RolledBack
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.True(t, c.did("Abandon w1"))
	assert.False(t, c.did("Commit w1"))
}

// times is how often something was done.
func (c *cluster) times(entry string) int {
	c.Lock()
	defer c.Unlock()
	n := 0
	for _, l := range c.log {
		if l == entry {
			n++
		}
	}
	return n
}
