package watcher

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

// filesOfTLS are those of a Secret.
func filesOfTLS(t *testing.T) DashboardOptions {
	dir := t.TempDir()
	return DashboardOptions{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ProxyCA: filepath.Join(dir, "ca.crt")}
}

func (o DashboardOptions) writePair(t *testing.T, pair certstest.Pair) {
	t.Helper()
	require.NoError(t, os.WriteFile(o.Cert, pair.CertPEM(), 0o600))
	require.NoError(t, os.WriteFile(o.Key, pair.KeyPEM(t), 0o600))
}

func TestDashboardReadsItsCertificateAgain(t *testing.T) {
	o := filesOfTLS(t)
	log := slog.New(slog.DiscardHandler)
	_, err := o.openTLS(log)
	require.ErrorContains(t, err, "tls.crt")
	ca := certstest.NewCA(t, "serving")
	first := ca.Leaf(t)
	o.writePair(t, first)
	opened, err := o.openTLS(log)
	require.NoError(t, err)
	served := func() *x509.Certificate {
		pair, err := opened.config.GetCertificate(nil)
		require.NoError(t, err)
		return pair.Leaf
	}
	assert.True(t, first.Leaf().Equal(served()))
	require.Len(t, opened.parts, 1)
	files, ok := opened.parts[0].(*certwatcher.CertWatcher)
	require.True(t, ok, "it watches the files")
	second := ca.Leaf(t)
	o.writePair(t, second)
	require.NoError(t, files.ReadCertificate())
	assert.True(t, second.Leaf().Equal(served()))
	assert.Equal(t, tls.NoClientCert, opened.config.ClientAuth)
}

func TestDashboardTrustsTheProxysCAOnly(t *testing.T) {
	o := filesOfTLS(t)
	serving := certstest.NewCA(t, "serving")
	o.writePair(t, serving.Leaf(t, certstest.SANs("127.0.0.1")))
	log := slog.New(slog.DiscardHandler)
	withoutCA := DashboardOptions{Cert: o.Cert, Key: o.Key, Proxies: []string{"auth"}}
	require.ErrorContains(t, withoutCA.checkFiles(), "the CA of the proxy")
	o.Proxies = []string{"auth"}
	_, err := o.openTLS(log)
	require.ErrorContains(t, err, "ca.crt")
	require.NoError(t, os.WriteFile(o.ProxyCA, []byte("no certificate"), 0o600))
	_, err = o.openTLS(log)
	require.ErrorContains(t, err, "holds no certificate")
	old := certstest.NewCA(t, "proxies")
	require.NoError(t, os.WriteFile(o.ProxyCA, old.Pair().CertPEM(), 0o600))
	opened, err := o.openTLS(log)
	require.NoError(t, err)
	require.NoError(t, o.checkFiles())
	require.Len(t, opened.parts, 2)
	for _, part := range opened.parts {
		on, ok := part.(manager.LeaderElectionRunnable)
		require.True(t, ok)
		assert.False(t, on.NeedLeaderElection())
	}
	for _, wrong := range []DashboardOptions{{Cert: "x"}, {Key: "x"}, {Proxies: []string{"a"}, ProxyCA: "x"}} {
		assert.Error(t, wrong.checkFiles())
	}
	assert.NoError(t, DashboardOptions{}.checkFiles())
}

// TestDashboardReadsTheProxysCAAgain: a CA that is removed is not trusted any more, the one that
// replaces it is.
func TestDashboardReadsTheProxysCAAgain(t *testing.T) {
	o := filesOfTLS(t)
	serving := certstest.NewCA(t, "serving")
	o.writePair(t, serving.Leaf(t, certstest.SANs("127.0.0.1")))
	o.Proxies = []string{"auth"}
	old := certstest.NewCA(t, "old")
	following := certstest.NewCA(t, "new")
	require.NoError(t, os.WriteFile(o.ProxyCA, old.Pair().CertPEM(), 0o600))
	opened, err := o.openTLS(slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	ca, ok := opened.parts[1].(*proxyCA)
	require.True(t, ok)
	listener, err := tls.Listen("tcp", "127.0.0.1:0", opened.config)
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go answerHandshakes(listener)

	sessions := tls.NewLRUClientSessionCache(1) // what a client resumes is verified again
	accepts := func(proxy certstest.CA) bool {
		leaf := proxy.Leaf(t, certstest.Name("auth"), certstest.Usages(x509.ExtKeyUsageClientAuth))
		pair, err := tls.X509KeyPair(leaf.CertPEM(), leaf.KeyPEM(t))
		require.NoError(t, err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(serving.Pair().CertPEM())
		connection, err := tls.Dial("tcp", listener.Addr().String(), &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, ClientSessionCache: sessions,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }})
		require.NoError(t, err)
		defer connection.Close()
		text, err := io.ReadAll(connection)
		return err == nil && string(text) == "verified"
	}
	assert.True(t, accepts(old))
	assert.False(t, accepts(following))
	require.NoError(t, os.WriteFile(o.ProxyCA, following.Pair().CertPEM(), 0o600))
	require.NoError(t, ca.readFile())
	assert.True(t, accepts(following))
	assert.False(t, accepts(old))
	require.NoError(t, os.WriteFile(o.ProxyCA, nil, 0o600))
	require.ErrorContains(t, ca.readFile(), "holds no certificate")
	assert.True(t, accepts(following), "a file that is being replaced does not end it")
}

// answerHandshakes says to each client whether its certificate was verified.
func answerHandshakes(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		secured, _ := connection.(*tls.Conn)
		if secured.Handshake() == nil && len(secured.ConnectionState().VerifiedChains) > 0 {
			_, _ = io.WriteString(secured, "verified")
		}
		_ = secured.Close()
	}
}
