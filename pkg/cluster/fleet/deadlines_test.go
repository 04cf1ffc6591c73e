package fleet_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// The processes on all control-plane nodes begin together: the last one waits for all
// others, far longer than a process waits for an order or an ordinary pod lives.
func TestSlowControlPlaneOfSevenNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(7, 1)
		for _, n := range c.nodes {
			n.takes = 11 * time.Minute
		}
		began := time.Now()
		report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Timeout, o.Pause = 10*time.Minute, time.Minute })
		require.NoError(t, err)
		assert.Equal(t, v1alpha1.Succeeded, report.Result)
		assert.Equal(t, v1alpha1.Succeeded, result(report, "w1"))
		assert.GreaterOrEqual(t, time.Since(began), 8*11*time.Minute+6*time.Minute)
		assert.Equal(t, 1, c.times("open cp7"), "its first process was still there")
	})
}

func TestPauseBetweenControlPlaneNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(3, 1)
		began := time.Now()
		_, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Pause = 30 * time.Second })
		require.NoError(t, err)
		assert.InDelta(t, 60, time.Since(began).Seconds(), 5)
	})
}

// What a node waits for by its components' own settings is waited for here as well.
func TestSlowRestartsAreWaitedFor(t *testing.T) {
	for name, slow := range map[string]func(*inventory.Node){
		"a static pod that reads a file and may take half an hour to exit": func(n *inventory.Node) {
			n.Certificates[0].OtherUsers = []inventory.OtherUser{{Kind: inventory.OtherStaticPod, Name: "proxy", Restartable: true, GraceSeconds: 1800}}
		},
		"an API server that serves on for ten minutes": func(n *inventory.Node) {
			n.ComponentOf(certs.KubeAPIServer).Args = []string{"--shutdown-delay-duration=10m"}
		},
		"a pod of an ordinary grace, and a kubelet that starts static pods late": func(n *inventory.Node) {
			for _, name := range []string{"a", "b", "c"} {
				n.Certificates[0].OtherUsers = append(n.Certificates[0].OtherUsers,
					inventory.OtherUser{Kind: inventory.OtherStaticPod, Name: name, Restartable: true, GraceSeconds: 30})
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(1, 0)
				slow(&c.nodes["cp1"].inventory)
				c.nodes["cp1"].takes, c.nodes["cp1"].says = 32*time.Minute, true
				report, err := rotate(t.Context(), t, c, func(o *fleet.Options) { o.Timeout = time.Minute })
				require.NoError(t, err)
				assert.Equal(t, v1alpha1.Succeeded, report.Result)
			})
		})
	}
}
