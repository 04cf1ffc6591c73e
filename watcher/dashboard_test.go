package watcher

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// TestDashboardIsServedOnItsOwnPort by every watcher, once it knows the objects of the cluster.
func TestDashboardIsServedOnItsOwnPort(t *testing.T) {
	o := Options{Config: &rest.Config{Host: "https://127.0.0.1:1"}, Log: slog.New(slog.DiscardHandler)} // no API server
	mgr, err := newManager(o, logr.Discard())
	require.NoError(t, err)
	var complete atomic.Bool
	w := &watcher{Options: o, cache: mgr.GetCache(), policy: newPolicy(false, o.Log, time.Now), synced: []toolscache.InformerSynced{complete.Load}}
	parts, err := w.newDashboard(t.Context(), mgr, events.NewFakeRecorder(1))
	require.NoError(t, err)
	assert.Empty(t, parts, "not without an address")
	w.Dashboard = DashboardOptions{Address: "127.0.0.1:0", Cert: "x"}
	_, err = w.newDashboard(t.Context(), mgr, events.NewFakeRecorder(1))
	require.Error(t, err)
	w.Dashboard.Cert = ""
	parts, err = w.newDashboard(t.Context(), mgr, events.NewFakeRecorder(1))
	require.NoError(t, err)
	require.Len(t, parts, 2)
	server, ok := parts[0].(*manager.Server)
	require.True(t, ok)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, len(parts))
	for _, part := range parts {
		on, ok := part.(manager.LeaderElectionRunnable)
		require.True(t, ok)
		assert.False(t, on.NeedLeaderElection())
		go func() { ended <- part.Start(ctx) }()
	}
	base := "http://" + server.Listener.Addr().String()
	send := func(method, path, form string) (int, string) {
		request, err := http.NewRequestWithContext(t.Context(), method, base+path, strings.NewReader(form))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		response, err := http.DefaultClient.Do(request)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(text)
	}
	status, text := send(http.MethodGet, "/sign-in", "")
	assert.Equal(t, http.StatusServiceUnavailable, status, text)
	complete.Store(true)
	status, text = send(http.MethodGet, "/", "")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, text, "--audience rotate-certs")
	status, _ = send(http.MethodPost, "/sign-in", "token=any")
	assert.Equal(t, http.StatusServiceUnavailable, status, "the API server cannot be asked")
	stop()
	for range parts {
		require.NoError(t, <-ended)
	}
}
