package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// site is where an external server lives: its configuration is the document's, with the
// lines edited that a person edits.
type site struct {
	t      *testing.T
	dir    string
	ca     certstest.CA
	config string
	port   int
	seeds  map[string]string // files, by role
	server *server.Server
}

// newSite edits the document's configuration; replace changes more of it.
func newSite(t *testing.T, replace ...string) *site {
	t.Helper()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)<!-- config -->\n```\n(.*?)```\n<!-- end -->").FindStringSubmatch(string(text))
	require.NotNil(t, block)
	s := &site{t: t, dir: t.TempDir(), ca: certstest.NewCA(t, "nats"), port: -1, seeds: map[string]string{}}
	pair := s.ca.Leaf(t, certstest.Name("nats"), certstest.SANs("127.0.0.1"))
	values := map[string]string{
		"CERT":  writeFile(t, s.dir, "tls.crt", pair.CertPEM()),
		"KEY":   writeFile(t, s.dir, "tls.key", pair.KeyPEM(t)),
		"STORE": filepath.Join(s.dir, "store"),
	}
	writeFile(t, s.dir, "ca.crt", s.ca.Pair().CertPEM())
	for _, role := range allRoles() {
		values[strings.ToUpper(strings.ReplaceAll(role, "-", "_"))] = s.newSeed(role)
	}
	s.config = strings.NewReplacer(append(replace, "/etc/nats/ca.crt", filepath.Join(s.dir, "ca.crt"))...).Replace(block[1])
	for name, value := range values {
		s.edit(name, value)
	}
	return s
}

// newSeed writes a role's seed into its file, and returns the public key.
func (s *site) newSeed(role string) string {
	s.t.Helper()
	user, err := nkeys.CreateUser()
	require.NoError(s.t, err)
	seed, err := user.Seed()
	require.NoError(s.t, err)
	public, err := user.PublicKey()
	require.NoError(s.t, err)
	s.seeds[role] = writeFile(s.t, s.dir, role+".nk", seed)
	return public
}

// edit changes one of the configuration's first lines.
func (s *site) edit(name, value string) {
	s.t.Helper()
	line := regexp.MustCompile(`(?m)^` + name + `: ".*"$`)
	require.Regexp(s.t, line, s.config)
	s.config = line.ReplaceAllLiteralString(s.config, fmt.Sprintf("%s: %q", name, value))
}

// options are those of the configuration, on the port of the last server.
func (s *site) options() *server.Options {
	s.t.Helper()
	s.edit("LISTEN", fmt.Sprintf("127.0.0.1:%d", s.port))
	options, err := server.ProcessConfigFile(writeFile(s.t, s.dir, "nats.conf", []byte(s.config)))
	require.NoError(s.t, err)
	options.NoSigs, options.NoLog = true, true
	return options
}

// start runs a server of the site, on the port of the last one.
func (s *site) start(change ...func(*server.Options)) {
	s.t.Helper()
	options := s.options()
	for _, f := range change {
		f(options)
	}
	require.True(s.t, options.SyncAlways)
	var err error
	s.server, err = server.NewServer(options)
	require.NoError(s.t, err)
	running := s.server
	go running.Start()
	s.t.Cleanup(func() { running.Shutdown(); running.WaitForShutdown() })
	require.True(s.t, running.ReadyForConnections(soon))
	port := regexp.MustCompile(`:(\d+)$`).FindStringSubmatch(running.Addr().String())
	_, err = fmt.Sscan(port[1], &s.port)
	require.NoError(s.t, err)
}

func (s *site) stop() {
	s.server.Shutdown()
	s.server.WaitForShutdown()
}

func (s *site) busConfig() Config {
	return testConfig(s.t, func(c *Config) {
		c.StoreDir, c.URLs = "", []string{fmt.Sprintf("tls://127.0.0.1:%d", s.port)}
		c.TLS.CA = filepath.Join(s.dir, "ca.crt")
		c.Credentials, c.RotatorCredentials = s.seeds[roleReporter], s.seeds[roleRotator]
	})
}

// dialServer connects as a user, past the bus.
func (s *site) dialServer(role string) *nats.Conn {
	s.t.Helper()
	user, err := nats.NkeyOptionFromSeed(s.seeds[role])
	require.NoError(s.t, err)
	nc, err := nats.Connect(fmt.Sprintf("tls://127.0.0.1:%d", s.port), user,
		nats.RootCAs(filepath.Join(s.dir, "ca.crt")), nats.CustomInboxPrefix(inboxPrefix+role),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	require.NoError(s.t, err)
	s.t.Cleanup(nc.Close)
	return nc
}

func TestOutboxWaitsForNATSInOrder(t *testing.T) {
	s := newSite(t)
	s.start()
	s.stop() // its port is known now
	b := openTest(t, s.busConfig())
	require.ErrorContains(t, b.Ready(), "NATS as reporter")
	for i := range 20 {
		require.NoError(t, b.Publish(request(fmt.Sprintf("auto-%d", i))))
		require.NoError(t, b.Publish(request(fmt.Sprintf("auto-%d", i))), "what waits need not wait twice")
	}
	require.Equal(t, 20, b.Stats().Waiting)
	require.False(t, b.Stats().Connected)

	s.start()
	waitReady(t, b)
	flushed(t, b)
	got := replayed(t, b)
	require.Len(t, got, 20)
	for i, data := range got {
		require.Equal(t, request(fmt.Sprintf("auto-%d", i)), data)
	}

	s.stop()
	require.Eventually(t, func() bool { return b.Ready() != nil }, soon, tick)
	require.NoError(t, b.Publish(request("later")))
	s.start()
	waitReady(t, b)
	flushed(t, b)
	require.Len(t, replayed(t, b), 21)
}

func TestOutboxIsBounded(t *testing.T) {
	c := testConfig(t, func(c *Config) {
		c.URLs, c.StoreDir, c.tuning.outbox = []string{"nats://127.0.0.1:1"}, "", 2
	})
	b := openTest(t, c)
	for i := range 2 + forRequests {
		require.NoError(t, b.Publish(request(fmt.Sprint(i))))
	}
	require.ErrorIs(t, b.Publish(request("c")), ErrOutboxFull)
	require.EqualValues(t, 1, b.Stats().Overflowed)
}

// A worker may report hundreds of certificates that end; requests go before their notices,
// in their own order, and find room.
func TestRequestsDoNotWaitBehindNotices(t *testing.T) {
	const most = 50
	s := newSite(t)
	s.start()
	s.stop()
	c := s.busConfig()
	c.tuning.outbox = most
	b := openTest(t, c)
	for i := range most {
		require.NoError(t, b.Publish(event.CertificateExpiring{Certificate: event.Certificate{Node: "w1", Service: "kubelet", Name: fmt.Sprint(i), Path: "/etc/x.crt",
			SerialNumber: "1a", FingerprintSHA256: fmt.Sprintf("%064d", i), NotAfter: time.Now()}}))
	}
	require.NoError(t, b.Publish(request("a")))
	require.NoError(t, b.Publish(request("b")))
	s.start()
	waitReady(t, b)
	flushed(t, b)
	got := replayed(t, b)
	require.Len(t, got, most+2)
	require.Equal(t, []event.Data{request("a"), request("b")}, got[1:3])
}

func TestRenewedClientCertificateIsUsedAtTheNextConnect(t *testing.T) {
	s := newSite(t, "# ca_file", "ca_file", "# verify", "verify")
	shown := make(chan string, 100)
	s.start(func(o *server.Options) {
		o.TLSConfig.VerifyConnection = func(state tls.ConnectionState) error {
			shown <- state.PeerCertificates[0].Subject.CommonName
			return nil
		}
	})
	c := s.busConfig()
	client := func(name string) {
		pair := s.ca.Leaf(t, certstest.Name(name), certstest.Usages(x509.ExtKeyUsageClientAuth))
		c.TLS.Cert = writeFile(t, s.dir, "client.crt", pair.CertPEM())
		c.TLS.Key = writeFile(t, s.dir, "client.key", pair.KeyPEM(t))
	}
	client("first")
	b := openReady(t, c)
	require.Equal(t, "first", receive(t, shown))
	require.Equal(t, "first", receive(t, shown))

	client("second")
	b.reporter.mu.Lock()
	nc := b.reporter.nc
	b.reporter.mu.Unlock()
	require.NoError(t, nc.ForceReconnect())
	require.Equal(t, "second", receive(t, shown))
	waitReady(t, b)
}

// TestRequestOfALargeCluster names every certificate of it, which is more than a server
// accepts by default.
func TestRequestOfALargeCluster(t *testing.T) {
	large := request("auto-large")
	for i := range 10_000 {
		large.Nodes = append(large.Nodes, fmt.Sprintf("worker-%d.rack-%d.example.org", i, i%100))
		large.Fingerprints = append(large.Fingerprints, fmt.Sprintf("%064x", 2*i), fmt.Sprintf("%064x", 2*i+1))
	}
	s := newSite(t)
	s.start()
	for name, c := range map[string]Config{"embedded": testConfig(t), "documented": s.busConfig()} {
		t.Run(name, func(t *testing.T) {
			b := openReady(t, c)
			require.NoError(t, b.Publish(large))
			flushed(t, b)
			require.EqualValues(t, 1, b.Stats().Published)
			got := make(chan event.Event, 1)
			background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e; return nil })
			require.Equal(t, large, receive(t, got).Data)
		})
	}
	t.Run("default", func(t *testing.T) {
		small := newSite(t, "max_payload: 8MB", "max_payload: 1MB")
		small.start()
		b := openReady(t, small.busConfig())
		require.NoError(t, b.Publish(large))
		require.NoError(t, b.Publish(request("small")))
		flushed(t, b)
		require.EqualValues(t, 1, b.Stats().Refused)
		require.EqualValues(t, 1, b.Stats().Published, "what follows is not held up")
	})
}
