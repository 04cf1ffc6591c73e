package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// silentAPI makes the lock unreadable for a while once the given node was committed.
func silentAPI(c *cluster, after string, during time.Duration) {
	var ends time.Time
	c.nodes[after].onCommit = func() { ends = time.Now().Add(during) }
	c.confirm = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return fmt.Errorf("confirm the lock: %w", ctx.Err())
		case <-time.After(time.Until(ends)):
			return nil
		}
	}
}

// TestRotationStopsWhereTheLockCannotBeConfirmed: it is not known then that another process holds it.
func TestRotationStopsWhereTheLockCannotBeConfirmed(t *testing.T) {
	for after, next := range map[string]string{"cp1": "cp2", "cp3": "w1"} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(3, 1)
			silentAPI(c, after, 24*time.Hour)
			began := time.Now()
			_, err := rotate(t.Context(), t, c, nil)
			require.ErrorIs(t, err, fleet.ErrStopped)
			assert.Contains(t, err.Error(), "it could not be confirmed that the lock is still held; "+next)
			assert.NotContains(t, err.Error(), "no longer held")
			assert.False(t, c.did("Commit "+next))
			assert.Less(t, time.Since(began), time.Hour)
		})
	}
}

func TestWaitingForTheLockIsReported(t *testing.T) {
	for _, after := range []string{"cp1", "cp3"} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster(3, 1)
			silentAPI(c, after, 2*time.Minute)
			var shown []fleet.Progress
			_, err := rotate(t.Context(), t, c, func(o *fleet.Options) {
				o.Progress = func(p fleet.Progress) {
					if p.Node == "" && p.Phase != fleet.PhaseEnding {
						shown = append(shown, p)
					}
				}
			})
			require.NoError(t, err)
			waiting := slices.IndexFunc(shown, func(p fleet.Progress) bool {
				return p.Text == "the API server does not confirm that the lock is still held"
			})
			require.GreaterOrEqual(t, waiting, 0, "%v", shown)
			assert.Contains(t, shown[waiting+1:], fleet.Progress{}, "the line is removed")
		})
	}
}

func TestErrorDistinguishesALostLockFromAnUnconfirmedOne(t *testing.T) {
	c := newCluster(3, 1)
	c.confirm = func(context.Context) error { return fmt.Errorf("%w: the watcher holds it", fleet.ErrLockLost) }
	_, err := rotate(t.Context(), t, c, nil)
	require.ErrorContains(t, err, "the lock is no longer held; cp1, cp2, cp3 not touched")
	c = newCluster(3, 1)
	c.confirm = func(context.Context) error { return errors.New("forbidden") }
	_, err = rotate(t.Context(), t, c, nil)
	require.ErrorContains(t, err, "it could not be confirmed that the lock is still held; cp1, cp2, cp3 not touched")
}
