package plugin

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestDashboardReadsEventsOfTheWatcher(t *testing.T) {
	s := installed(t)
	s.events = send(published()...)
	c := shownCluster(t, s)
	var raw []string
	keep := func(e watcherevents.Event) error { raw = append(raw, string(e.Raw)); return nil }
	require.NoError(t, c.WatcherEvents(t.Context(), time.Time{}, false, keep))
	assert.Equal(t, published(), raw)

	s.events = func(w http.ResponseWriter, _ *http.Request) {
		fail(w, 403, "Forbidden", "services/proxy is forbidden", "x")
	}
	err := c.WatcherEvents(t.Context(), time.Time{}, true, keep)
	require.Error(t, err)
	assert.Contains(t, hint.TextOf(err), "rotate-certs:view in namespace rotate-certs")
	s.forbidden = []string{"list deployments"}
	s.events = send(published()[0])
	require.NoError(t, c.WatcherEvents(t.Context(), time.Time{}, false, keep), "the right to list deployments is not needed")
}

// TestConnectionToTheWatcherEndsWithThePage, also where the watcher sends no more.
func TestConnectionToTheWatcherEndsWithThePage(t *testing.T) {
	s := installed(t)
	begun := make(chan string, 1)
	read := make(chan string, 1)
	ended := make(chan struct{})
	s.events = func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, published()[0])
		_ = http.NewResponseController(w).Flush()
		begun <- r.URL.Query().Encode()
		<-r.Context().Done()
		close(ended)
	}
	ctx, leave := context.WithCancel(t.Context())
	c := shownCluster(t, s)
	left := make(chan error, 1)
	go func() {
		left <- c.WatcherEvents(ctx, noon, true, func(e watcherevents.Event) error { read <- e.ID; return nil })
	}()
	assert.Equal(t, "follow=true&since=2026-11-24T12%3A00%3A00Z", <-begun)
	assert.Equal(t, "id-01", <-read)
	leave()
	<-ended
	require.NoError(t, <-left)
}
