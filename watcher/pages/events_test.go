package pages

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// publishedEvents are on the bus.
type publishedEvents []event.Event

func (p publishedEvents) ReplayEvents(ctx context.Context, _ time.Time, follow bool, fn func(event.Event) error) error {
	for _, e := range p {
		if err := fn(e); err != nil {
			return err
		}
	}
	if follow {
		<-ctx.Done()
	}
	return nil
}

// TestEventsAreForUsersOfRotations: a right that is withdrawn has an effect on the next reading.
func TestEventsAreForUsersOfRotations(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": viewer})
	source, _ := newSource(t, s, func(source *Source) {
		source.Events = publishedEvents{event.New("prod", noon, event.RotationStarted{Rotation: event.Rotation{Name: "auto-1", RotationID: "7f3c2a"}, Services: []certs.Service{certs.Etcd}})}
	})
	cluster := clusterOf(t, source, "jane")
	var words []string
	pass := func(e watcherevents.Event) error { words = append(words, e.DescribeEvent()); return nil }
	require.NoError(t, cluster.WatcherEvents(t.Context(), time.Time{}, false, pass))
	assert.Equal(t, []string{"rotation auto-1 (7f3c2a) started: etcd"}, words)
	s.setRights("jane", nil)
	for _, follow := range []bool{false, true} {
		err := cluster.WatcherEvents(t.Context(), time.Time{}, follow, pass)
		require.Error(t, err)
		assert.Contains(t, hint.TextOf(err), "list certificaterotations")
		assert.Contains(t, hint.TextOf(err), "rotate-certs:view")
	}
	assert.Len(t, words, 1)
}
