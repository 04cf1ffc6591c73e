package fleet_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func withoutAPI(o *fleet.Options) {
	o.WithoutAPI = true
	o.OpenIdle = true
}

// scannedOnly removes the inventories of all other nodes.
func scannedOnly(o *fleet.Options, nodes ...string) {
	o.Scanned = slices.DeleteFunc(slices.Clone(o.Scanned), func(n inventory.Node) bool { return !slices.Contains(nodes, n.Name) })
}

// TestWithoutTheAPIEveryEtcdMemberMustBeOnAHost: another rotation, which has the lock, could restart
// the others at the same time.
func TestWithoutTheAPIEveryEtcdMemberMustBeOnAHost(t *testing.T) {
	c := newCluster(3, 0)
	_, err := rotateSome(t, c, []string{"cp1"}, func(o *fleet.Options) {
		withoutAPI(o)
		scannedOnly(o, "cp1")
	})
	require.ErrorIs(t, err, fleet.ErrStopped)
	for _, name := range []string{"cp2", "cp3"} {
		assert.Contains(t, err.Error(), `etcd member "`+name+`" (unknown address) is on none of the hosts: without the cluster's lock, another rotation could restart it`)
	}
	assert.NotContains(t, err.Error(), `etcd member "cp1"`)
	assert.False(t, c.did("Stage cp1"))

	c = newCluster(3, 0)
	_, err = rotateSome(t, c, []string{"cp1"}, func(o *fleet.Options) { scannedOnly(o, "cp1") })
	require.NoError(t, err, "no other rotation runs while the lock is held")
	c = newCluster(3, 0)
	_, err = rotateSome(t, c, []string{"cp1"}, withoutAPI)
	require.NoError(t, err)
}

// TestInterruptedNodeIsNotUndoneWhileAMemberIsOnNoHost: to undo it restarts components.
func TestInterruptedNodeIsNotUndoneWhileAMemberIsOnNoHost(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp2"].inventory.Rotations = []inventory.NodeRotation{{ID: "7f3c2a", State: inventory.Committing}}
	_, err := rotateSome(t, c, []string{"cp1", "cp2"}, func(o *fleet.Options) {
		withoutAPI(o)
		scannedOnly(o, "cp1", "cp2")
	})
	require.ErrorContains(t, err, `etcd member "cp3"`)
	assert.False(t, c.did("open cp2"))
}

// TestOpenIdleAsksNodesThatAreNotChangedOnTheNode: their address for other nodes is not known where
// the API server listens on 127.0.0.1.
func TestOpenIdleAsksNodesThatAreNotChangedOnTheNode(t *testing.T) {
	openIdle := func(o *fleet.Options) { o.OpenIdle = true }
	c := newCluster(3, 0)
	for _, n := range c.nodes {
		n.inventory.ComponentOf(certs.KubeAPIServer).APIServer = "127.0.0.1:6443"
	}
	_, err := rotateSome(t, c, []string{"cp2"}, openIdle)
	require.NoError(t, err)
	for _, name := range []string{"cp1", "cp3"} {
		assert.True(t, c.did("open "+name))
		assert.False(t, c.did("Stage "+name))
		assert.False(t, c.did("Commit "+name))
	}

	c = newCluster(3, 0)
	c.nodes["cp1"].unhealthy = "connection refused"
	_, err = rotateSome(t, c, []string{"cp2"}, openIdle)
	require.ErrorContains(t, err, "cp1: API server is not ready: connection refused")
}

func TestIdleNodeThatWasInterruptedIsNotOpened(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp1"].inventory.Rotations = []inventory.NodeRotation{{ID: "abcdef", State: inventory.Committing}}
	_, err := rotateSome(t, c, []string{"cp2"}, withoutAPI)
	require.NoError(t, err)
	assert.False(t, c.did("open cp1"), "its process would put files back")
	assert.True(t, c.did("open cp3"))
}
