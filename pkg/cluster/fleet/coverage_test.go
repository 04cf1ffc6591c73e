package fleet_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// rotateSome rotates the API servers of some nodes.
func rotateSome(t *testing.T, c *cluster, nodes []string, change func(*fleet.Options)) (*v1alpha1.RotationReport, error) {
	t.Helper()
	request := plan.Request{Services: []certs.Service{certs.KubeAPIServer}, Nodes: nodes, Restart: plan.RestartAlways}
	p, err := plan.BuildPlan(c.inventories(), request, nil)
	require.NoError(t, err)
	o := fleet.Options{Rotation: fleet.Rotation{ID: "7f3c2a", Request: request, Plan: p, Scanned: c.inventories()}, Timeout: time.Millisecond}
	if change != nil {
		change(&o)
	}
	return fleet.Rotate(t.Context(), c.asCluster(), o)
}

func TestGateCoversControlPlaneNodesThatAreNotChanged(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp1"].unhealthy = "connection refused"
	_, err := rotateSome(t, c, []string{"cp2"}, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp1: API server is not ready: connection refused")
	assert.False(t, c.did("Stage cp2"))
	assert.False(t, c.did("open cp1"))

	c = newCluster(3, 0)
	c.nodes["cp1"].unhealthy = "connection refused"
	var overridden []string
	_, err = rotateSome(t, c, []string{"cp2"}, forced(&overridden))
	require.NoError(t, err)
	assert.Equal(t, []string{"overridden by --force: cp1: API server is not ready: connection refused"}, overridden)

	c = newCluster(3, 0)
	c.nodes["cp2"].onCommit = func() { c.nodes["cp1"].unhealthy = "connection refused" }
	_, err = rotateSome(t, c, []string{"cp2", "cp3"}, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.False(t, c.did("Commit cp3"))
}

func TestControlPlaneNodeWithoutAnAnswerIsAFinding(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*cluster, *fleet.Options)
		says   string
	}{
		"it could not be scanned": {func(_ *cluster, o *fleet.Options) {
			o.Unscanned = []gate.Unscanned{{Node: "cp0", Reason: "NotReady for 14m"}}
		}, "cp0 is a control-plane node, and its API server could not be probed: NotReady for 14m"},
		"no API server was found behind its label": {func(_ *cluster, o *fleet.Options) {
			o.Scanned = append(o.Scanned, inventory.Node{Name: "cp0", Known: inventory.Known{ControlPlane: true}})
		}, "cp0 has the label of a control-plane node, but no API server was found on it"},
		"its address is not known": {func(_ *cluster, o *fleet.Options) {
			o.Scanned = append(o.Scanned, inventory.Node{Name: "cp0", Components: []inventory.Component{{Service: certs.KubeAPIServer, APIServer: "127.0.0.1:6443"}}})
		}, "cp0: the API server did not report whether it is ready"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, 0)
			_, err := rotate(t.Context(), t, c, func(o *fleet.Options) { tt.change(c, o) })
			require.ErrorIs(t, err, fleet.ErrStopped)
			assert.Contains(t, err.Error(), tt.says)
			assert.False(t, c.did("Stage cp1"))

			c = newCluster(3, 0)
			report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { tt.change(c, o); o.Force = true })
			require.NoError(t, err)
			require.Len(t, report.Overridden, 1)
			assert.Contains(t, report.Overridden[0], tt.says)
		})
	}
}

// The watcher goes by it when it decides what to try again.
func TestNodeWithoutAnAnswerIsBlamedForTheRefusal(t *testing.T) {
	c := newCluster(3, 0)
	var blamed []string
	_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
		o.Unscanned = []gate.Unscanned{{Node: "cp0", Reason: "NotReady"}}
		o.Progress = func(p fleet.Progress) {
			if p.Phase == fleet.PhaseFailed {
				blamed = append(blamed, p.Node)
			}
		}
	})
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Equal(t, []string{"cp0"}, blamed)
}

// A node whose API server is started by a program that the scan does not know is no worker.
func TestLabelledNodeIsRotatedAloneAndAfterTheGate(t *testing.T) {
	c := newCluster(2, 2)
	c.nodes["w1"].inventory.Known.ControlPlane = true
	_, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Force = true })
	require.NoError(t, err)
	assert.Less(t, c.index("Commit w1"), c.index("Commit w2"))
	assert.Positive(t, c.nodes["w1"].healthChecks, "it takes part in the gate")
}

func TestClocksThatDifferTooMuchAreRefused(t *testing.T) {
	c := newCluster(3, 1)
	now := time.Now()
	for name, n := range c.nodes {
		n.inventory.Time = now
		if name == "cp2" {
			n.inventory.Time = now.Add(7 * time.Minute)
		}
		n.inventory.Scanned = inventory.Scanned{From: now.Add(-3 * time.Second), To: now.Add(time.Second)}
	}
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp2 is 7m0s ahead")
	assert.False(t, c.did("open cp1"))
	report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Force = true })
	require.NoError(t, err)
	require.Len(t, report.Overridden, 1)
	assert.Contains(t, report.Overridden[0], "clocks differ by")
}
