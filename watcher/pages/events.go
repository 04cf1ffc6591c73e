package pages

import (
	"context"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Published is the part of the bus that has the events of this cluster.
type Published interface {
	ReplayEvents(ctx context.Context, since time.Time, follow bool, fn func(event.Event) error) error
}

// WatcherEvents reads the events from the bus, on every watcher, for users with the permission to list
// rotations.
func (c *userCluster) WatcherEvents(ctx context.Context, since time.Time, follow bool, pass func(watcherevents.Event) error) error {
	if err := c.requireAccess(ctx, "rotate-certs:view", listRotations); err != nil {
		return err
	}
	return c.Events.ReplayEvents(ctx, since, follow, func(e event.Event) error {
		raw, err := e.MarshalJSON()
		if err != nil {
			return err
		}
		parsed, err := watcherevents.ParseEvent(raw)
		if err != nil {
			return err
		}
		return pass(parsed)
	})
}
