package fleet_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A node that cannot be reached any more in the middle of its commit is waited for as
// long as it may take, which it has said itself, and this is reported.
func TestANodeOutOfReachIsWaitedForAsLongAsItMayTake(t *testing.T) {
	for _, tt := range []struct {
		name   string
		within time.Duration // what the node's last record says of the next
		want   time.Duration
	}{
		{"it said how long it may take", 80 * time.Second, 110 * time.Second},
		{"it did not say", 0, 2*time.Minute + 20*time.Second},
		{"it said nonsense", 1000 * time.Hour, 2*time.Minute + 20*time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(1, 0)
				n := c.nodes["cp1"]
				n.lost = &nodeapi.Record{Kind: nodeapi.Restarting, Message: "etcd", WithinSeconds: tt.within.Seconds()}
				var said []string
				began := time.Now()
				_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
					o.Timeout = 20 * time.Second
					o.Progress = func(p fleet.Progress) { said = append(said, p.Text) }
				})
				require.ErrorIs(t, err, fleet.ErrManualInterventionRequired)
				assert.Contains(t, err.Error(), "cp1: it is not known how its part ended")
				assert.Contains(t, err.Error(), "the node has reported nothing for")
				assert.InDelta(t, tt.want.Seconds(), time.Since(began).Seconds(), 1)
				text := strings.Join(said, "\n")
				assert.Equal(t, 1, strings.Count(text, "not reachable (dial tcp: i/o timeout); its process continues, waiting up to"), text)
			})
		})
	}
}

// The node's journal decides the result when the last record did not arrive.
func TestAVanishedProcessIsJudgedByItsJournal(t *testing.T) {
	for _, tt := range []struct {
		name       string
		state      inventory.RotationState
		token      int64
		notReady   bool
		unverified bool
		kind       error
		result     v1alpha1.Result
		says       string
	}{
		{"it had committed", inventory.Committed, 1, false, false, nil, v1alpha1.Succeeded, ""},
		{"it was undone", inventory.RolledBack, 1, false, false, fleet.ErrStopped, v1alpha1.RolledBack, "cp1 runs on its old certificates again"},
		{"the order did not reach it", inventory.Staged, 1, false, false, fleet.ErrStopped, v1alpha1.Failed, "the order to commit did not reach it"},
		{"it was left between old and new", inventory.Committing, 1, false, false, fleet.ErrManualInterventionRequired, v1alpha1.Failed, "its journal says: Committing"},
		{"it is broken", inventory.Unknown, 1, false, false, fleet.ErrManualInterventionRequired, v1alpha1.Failed, "state unknown"},
		{"it committed another time", inventory.Committed, 0, false, false, fleet.ErrManualInterventionRequired, v1alpha1.Failed, "state unknown"},
		{"it cannot be scanned", inventory.Committed, 1, true, false, fleet.ErrManualInterventionRequired, v1alpha1.Failed, "could not be scanned again: NotReady"},
		{"its old certificates are back, not verified", inventory.RolledBack, 1, false, true, fleet.ErrManualInterventionRequired, v1alpha1.Failed, "state unknown"},
		{"its new certificates stay, not verified", inventory.Committed, 1, false, true, fleet.ErrManualInterventionRequired, v1alpha1.Failed, "state unknown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(1, 0)
			n := c.nodes["cp1"]
			n.vanishes, n.notReady, n.unreachable = true, tt.notReady, tt.state == inventory.Staged
			n.onCommit = func() {
				n.inventory.Rotations = []inventory.NodeRotation{{ID: "7f3c2a", State: tt.state, Token: tt.token, Unverified: tt.unverified}}
			}
			report, err := rotate(context.Background(), t, c, nil)
			if tt.kind == nil {
				require.NoError(t, err)
			} else {
				require.True(t, errors.Is(err, tt.kind), "%v", err)
				assert.Contains(t, err.Error(), tt.says)
			}
			assert.Equal(t, tt.result, result(report, "cp1"))
		})
	}
}

// A record that claims to be of another node is rejected, also when it arrives through a pod.
func TestANodeCannotSpeakForAnother(t *testing.T) {
	c := newCluster(3, 0)
	c.nodes["cp2"].claims = "cp1"
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorIs(t, err, fleet.ErrStopped)
	assert.Contains(t, err.Error(), `a record claims to be of node "cp1"`)
	for _, n := range []string{"cp1", "cp2", "cp3"} {
		assert.False(t, c.did("Commit "+n))
	}
}
