package watcher

import (
	"crypto/tls"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
	"github.com/rotate-certs/rotate-certs/watcher/controller"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// serving starts the servers of a watcher, and returns their addresses by name.
func serving(t *testing.T, o Options) map[string]string {
	t.Helper()
	policy := renewal.Default()
	w := &watcher{
		Options: o, bus: &bus.Bus{}, metrics: metrics.New(func() metrics.Snapshot { return metrics.Snapshot{} }, metrics.Options{}),
		decider: controller.NewDecider(&controller.Decider{}, &policy), runner: controller.NewRunner(&controller.Runner{}),
	}
	w.Log = slog.New(slog.DiscardHandler)
	servers, err := w.newServers(t.Context(), &rest.Config{Host: "https://127.0.0.1:1"}) // no API server
	require.NoError(t, err)
	addresses := map[string]string{}
	for _, s := range servers {
		server, ok := s.(*manager.Server)
		require.True(t, ok)
		addresses[server.Name] = server.Listener.Addr().String()
		ended := make(chan error, 1)
		go func() { ended <- server.Start(t.Context()) }()
		t.Cleanup(func() { assert.NoError(t, <-ended) })
	}
	return addresses
}

func TestMetricsRequireAuthorization(t *testing.T) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // it is self-signed
	status := func(url, token string) int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		if token != "" {
			request.Header.Set("Authorization", "Bearer "+token)
		}
		answer, err := client.Do(request)
		require.NoError(t, err)
		defer answer.Body.Close()
		return answer.StatusCode
	}
	at := serving(t, Options{HTTPAddress: "127.0.0.1:0", MetricsAddress: "127.0.0.1:0"})
	require.Len(t, at, 2)
	assert.Equal(t, http.StatusNotFound, status("http://"+at["http"]+"/metrics", ""))
	assert.Equal(t, http.StatusOK, status("http://"+at["http"]+"/livez", ""))
	assert.Equal(t, http.StatusUnauthorized, status("https://"+at["metrics"]+"/metrics", ""))
	assert.Equal(t, http.StatusServiceUnavailable, status("https://"+at["metrics"]+"/metrics", "any"), "the API server cannot be asked")
	assert.Equal(t, http.StatusBadRequest, status("http://"+at["metrics"]+"/metrics", "any"), "no token in plain text")
	assert.Equal(t, http.StatusNotFound, status("https://"+at["metrics"]+"/events", "any"))

	at = serving(t, Options{HTTPAddress: "127.0.0.1:0"})
	require.Len(t, at, 1)
	assert.Equal(t, http.StatusOK, status("http://"+at["http"]+"/metrics", ""), "beside the cluster, on a person's own machine")
}

func TestSelfSignedCertificateIsRenewed(t *testing.T) {
	now := time.Now()
	s := &selfSigned{now: func() time.Time { return now }}
	serial := func() string {
		c, err := s.getCertificate(nil)
		require.NoError(t, err)
		require.True(t, now.After(c.Leaf.NotBefore) && now.Before(c.Leaf.NotAfter))
		return c.Leaf.SerialNumber.String()
	}
	first := serial()
	now = s.current.Leaf.NotAfter.Add(-180*certs.Day - time.Minute)
	assert.Equal(t, first, serial())
	now = now.Add(2 * time.Minute)
	assert.NotEqual(t, first, serial())
}
