package plugin

import (
	"context"
	"io"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
)

// WatcherEvents reads the events of the watcher, as the command events does.
func (d *contextCluster) WatcherEvents(ctx context.Context, since time.Time, follow bool, pass func(watcherevents.Event) error) error {
	api, err := openObjects(d.conn)
	if err != nil {
		return explainError(err, d.flags)
	}
	open := func(ctx context.Context) (io.ReadCloser, error) {
		namespace, err := api.namespaceOfEvents(ctx, d.flags)
		if err != nil {
			return nil, err
		}
		return api.openEvents(ctx, namespace, eventsQuery(since, follow))
	}
	return explainError(watcherevents.ReadEvents(ctx, follow, open, pass), d.flags)
}
