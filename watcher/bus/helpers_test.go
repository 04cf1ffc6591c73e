package bus

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

const (
	soon = time.Minute // what must happen happens long before, also on a busy machine
	tick = 2 * time.Millisecond
)

var at = time.Date(2030, 5, 17, 9, 30, 0, 0, time.UTC)

// quick are the delays of tests.
var quick = tuning{
	ackWait: 300 * time.Millisecond, retry: []time.Duration{time.Millisecond}, hold: time.Millisecond,
	request: 5 * time.Second, reconnect: 10 * time.Millisecond, watch: 20 * time.Millisecond,
}

// testConfig is an embedded server's, in a directory of its own.
func testConfig(t *testing.T, change ...func(*Config)) Config {
	t.Helper()
	c := Config{Cluster: "prod", StoreDir: t.TempDir(), tuning: quick, Log: slog.New(slog.DiscardHandler)}
	if testing.Verbose() {
		c.Log = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	}
	for _, f := range change {
		f(&c)
	}
	return c
}

func openTest(t *testing.T, c Config) *Bus {
	t.Helper()
	b, err := Open(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(b.Close)
	return b
}

func openReady(t *testing.T, c Config) *Bus {
	t.Helper()
	b := openTest(t, c)
	waitReady(t, b)
	return b
}

func waitReady(t *testing.T, b *Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	require.NoError(t, b.WaitReady(ctx))
}

// flushed waits until NATS has all that was published.
func flushed(t *testing.T, b *Bus) {
	t.Helper()
	require.Eventually(t, func() bool { return b.Stats().Waiting == 0 }, soon, tick)
}

func request(name string) event.RotationRequested {
	return event.RotationRequested{Name: name, Services: []certs.Service{certs.Etcd}, Reason: event.ReasonExpiring, Attempt: 1}
}

// compromisedReport is an event that others publish; its reason is its id, too.
func compromisedReport(reason string) event.Event {
	e := event.New("prod", at, event.CertificateCompromised{Service: certs.Etcd, Reason: reason})
	e.ID = reason
	return e
}

// publishCompromised publishes a report as a permitted user.
func publishCompromised(t *testing.T, js jetstream.JetStream, e event.Event) error {
	t.Helper()
	body, err := e.MarshalJSON()
	require.NoError(t, err)
	_, err = js.Publish(t.Context(), CompromisedSubject("prod"), body, jetstream.WithMsgID(e.ID))
	return err
}

// replayed returns what a bus replays.
func replayed(t *testing.T, b *Bus) []event.Data {
	t.Helper()
	var out []event.Data
	require.NoError(t, b.ReplayEvents(t.Context(), time.Time{}, false, func(e event.Event) error {
		out = append(out, e.Data)
		return nil
	}))
	return out
}

// raw is a connection to the embedded server, past the bus.
func raw(t *testing.T, b *Bus) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("", nats.InProcessServer(b.embedded))
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return nc, js
}

// background runs a consumer until the test or stop ends it.
func background(t *testing.T, consume func(context.Context, Handler) error, h Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { _ = consume(ctx, h) })
	stop = func() { cancel(); done.Wait() }
	t.Cleanup(stop)
	return stop
}

// receive takes what a channel gives soon.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(soon):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o600))
	return path
}
