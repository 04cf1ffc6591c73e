package fleet_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

func forced(overridden *[]string) func(*fleet.Options) {
	return func(o *fleet.Options) {
		o.Force = true
		o.Progress = func(p fleet.Progress) {
			if p.Phase == fleet.PhaseForced {
				*overridden = append(*overridden, p.Text)
			}
		}
	}
}

func TestForceProceedsAndReportsTheOverriddenFindings(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp2"].unhealthy = "[-]etcd failed"
	var overridden []string
	report, err := rotate(t.Context(), t, c, forced(&overridden))
	require.NoError(t, err)
	const what = "cp2: API server is not ready: [-]etcd failed"
	assert.Equal(t, []string{"overridden by --force: " + what}, overridden, "once, though the gate is checked before and after every node")
	assert.Equal(t, []string{what}, report.Overridden)
	assert.Equal(t, v1alpha1.Succeeded, report.Result)
}

func TestForceOverridesNothingThatIsFine(t *testing.T) {
	var overridden []string
	report, err := rotate(t.Context(), t, newCluster(3, 0), forced(&overridden))
	require.NoError(t, err)
	assert.Empty(t, overridden)
	assert.Empty(t, report.Overridden)
}

func TestForceDoesNotOverrideWhatBreaksOnTheWay(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp2"].unhealthy = "[-]etcd failed"
	c.nodes["cp1"].onCommit = func() { c.nodes["cp3"].unhealthy = "[-]poststarthook failed" }
	var overridden []string
	_, err := rotate(t.Context(), t, c, forced(&overridden))
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), "cp3: API server is not ready: [-]poststarthook failed")
	assert.NotContains(t, err.Error(), "cp2: API server", "that was known, and overridden")
	assert.False(t, c.did("Commit cp2"))
}

// TestForceIsForTheGateOnly: a lock of another, a lost lock, and a node that refuses to
// stage (an attribute would be lost, a CA is invalid) stop with it as without it.
func TestForceIsForTheGateOnly(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*cluster)
		says   string
	}{
		"held lock":       {func(c *cluster) { c.held = assert.AnError }, assert.AnError.Error()},
		"lost lock":       {func(c *cluster) { c.lost = true }, "held by another rotation"},
		"refused staging": {func(c *cluster) { c.nodes["cp3"].stage = nodeapi.Failed }, "cp3 was not changed"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(3, 0)
			tt.change(c)
			var overridden []string
			_, err := rotate(t.Context(), t, c, forced(&overridden))
			require.ErrorContains(t, err, tt.says)
			assert.False(t, c.did("Commit cp1"))
			assert.Empty(t, overridden)
		})
	}
}

func TestARefusalNamesForce(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp2"].unhealthy = "x"
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorContains(t, err, "add --force")
}
