package watcher

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
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
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// writePair writes a new self-signed certificate and its key, and returns the certificate.
func writePair(t *testing.T, dir string, changed time.Time) *x509.Certificate {
	t.Helper()
	certificate, key, err := cert.GenerateSelfSignedCertKey("certs.example.org", nil, nil)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tls.crt"), certificate, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tls.key"), key, 0o600))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "tls.crt"), changed, changed))
	pair, err := tls.X509KeyPair(certificate, key)
	require.NoError(t, err)
	return pair.Leaf
}

func TestDashboardReadsItsCertificateAgain(t *testing.T) {
	dir := t.TempDir()
	o := DashboardOptions{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key")}
	_, err := o.tlsConfig()
	require.ErrorContains(t, err, "tls.crt")
	begin := time.Now()
	first := writePair(t, dir, begin)
	config, err := o.tlsConfig()
	require.NoError(t, err)
	served := func() *x509.Certificate {
		pair, err := config.GetCertificate(nil)
		require.NoError(t, err)
		return pair.Leaf
	}
	assert.True(t, first.Equal(served()))
	second := writePair(t, dir, begin.Add(time.Second))
	assert.True(t, second.Equal(served()))
	require.NoError(t, os.WriteFile(o.Key, []byte("not a key"), 0o600))
	require.NoError(t, os.Chtimes(o.Cert, begin, begin.Add(2*time.Second)))
	assert.True(t, second.Equal(served()), "files that are being replaced do not end it")
	require.NoError(t, os.Remove(o.Cert))
	assert.True(t, second.Equal(served()))
	assert.Equal(t, tls.NoClientCert, config.ClientAuth)
}

func TestDashboardTrustsTheProxysCAOnly(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, time.Now())
	o := DashboardOptions{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), Proxies: []string{"auth"}}
	require.ErrorContains(t, o.checkFiles(), "the CA of the proxy")
	o.ProxyCA = filepath.Join(dir, "tls.key")
	_, err := o.tlsConfig()
	require.ErrorContains(t, err, "holds no certificate")
	o.ProxyCA = o.Cert
	config, err := o.tlsConfig()
	require.NoError(t, err)
	require.NoError(t, o.checkFiles())
	assert.Equal(t, tls.VerifyClientCertIfGiven, config.ClientAuth)
	for _, wrong := range []DashboardOptions{{Cert: "x"}, {Key: "x"}, {Proxies: []string{"a"}, ProxyCA: "x"}} {
		assert.Error(t, wrong.checkFiles())
	}
	assert.NoError(t, DashboardOptions{}.checkFiles())
}

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
