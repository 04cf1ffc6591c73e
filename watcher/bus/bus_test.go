package bus

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

func TestPublishedEventsAreReplayedInOrder(t *testing.T) {
	b := openReady(t, testConfig(t))
	want := eventtest.All()
	for _, data := range want {
		require.NoError(t, b.Publish(data))
		flushed(t, b) // the two roles have an outbox each
	}
	require.Equal(t, want, replayed(t, b))

	_, js := raw(t, b)
	stream, err := js.Stream(t.Context(), EventStream("prod"))
	require.NoError(t, err)
	for i := range want {
		msg, err := stream.GetMsg(t.Context(), uint64(i+1))
		require.NoError(t, err)
		e, err := event.ParseEvent(msg.Data)
		require.NoError(t, err)
		require.Equal(t, "application/cloudevents+json", msg.Header.Get("Content-Type"))
		require.Equal(t, e.ID, msg.Header.Get("Nats-Msg-Id"))
		require.Equal(t, SubjectOf(e), msg.Subject)
	}
}

func TestSameEventIsStoredOnceEvenAfterARestart(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	expiring := event.CertificateExpiring{Certificate: eventtest.Certificate}
	for range 3 {
		require.NoError(t, b.Publish(expiring))
		flushed(t, b)
	}
	require.EqualValues(t, 1, b.Stats().Published)
	require.EqualValues(t, 2, b.Stats().Duplicates)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	acked := make(chan string)
	stop := background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error {
		acked <- e.Subject
		return nil
	})
	require.Equal(t, "auto-1", receive(t, acked))
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, soon, tick)
	stop()
	b.Close()

	again := openReady(t, c)
	require.NoError(t, again.Publish(expiring))
	require.NoError(t, again.Publish(request("auto-1")))
	flushed(t, again)
	require.EqualValues(t, 0, again.Stats().Published, "acknowledged or not, it is known")
	require.EqualValues(t, 2, again.Stats().Duplicates)
	require.Len(t, replayed(t, again), 2)
}

// TestKilledServerKeepsAcknowledgedEvents copies the store of a server that runs, as a
// SIGKILL would leave it.
func TestKilledServerKeepsAcknowledgedEvents(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	for _, data := range eventtest.All() {
		require.NoError(t, b.Publish(data))
		flushed(t, b)
	}
	copied := c
	copied.StoreDir = t.TempDir()
	require.NoError(t, os.CopyFS(copied.StoreDir, os.DirFS(c.StoreDir)))

	after := openReady(t, copied)
	require.Equal(t, eventtest.All(), replayed(t, after))
	require.NoError(t, after.Publish(eventtest.All()[0]))
	flushed(t, after)
	require.EqualValues(t, 1, after.Stats().Duplicates)
}

func TestStreamsKeepAcknowledgedEvents(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	_, js := raw(t, b)
	for _, want := range declaredStreams("prod", 1) {
		s, err := js.Stream(t.Context(), want.Name)
		require.NoError(t, err)
		have := s.CachedInfo().Config
		require.Equal(t, jetstream.FileStorage, have.Storage)
		require.Equal(t, jetstream.DefaultPersistMode, have.PersistMode)
		require.Positive(t, have.MaxAge)
		require.Positive(t, have.MaxBytes)
		require.Positive(t, have.MaxMsgSize)
	}
	options, err := b.embedded.serverOptions()
	require.NoError(t, err)
	require.True(t, options.SyncAlways)
	require.True(t, options.DontListen)
	info, err := os.Stat(filepath.Join(c.StoreDir, storeName))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o700), info.Mode().Perm())
}

func TestPublishRefusesInvalidData(t *testing.T) {
	b := openReady(t, testConfig(t))
	require.ErrorContains(t, b.Publish(event.CertificateExpiring{}), `publish certificate.expiring of "/"`)
	require.EqualValues(t, 1, b.Stats().Refused)
	require.Zero(t, b.Stats().Waiting)
}

func TestOpenRefuses(t *testing.T) {
	listen := &Listen{Address: "127.0.0.1:0"}
	for _, tc := range []struct {
		name string
		c    Config
		want string
	}{
		{"no name", Config{StoreDir: "x"}, "the cluster has no name"},
		{"no place", Config{Cluster: "c"}, "--nats-url or --store"},
		{"a listener elsewhere", Config{Cluster: "c", URLs: []string{"nats://x"}, Listen: listen}, "only the embedded NATS server can listen"},
		{"a listener without users", Config{Cluster: "c", StoreDir: "x", Listen: listen}, "needs a certificate, its key and a file of users"},
		{"replicas of its own", Config{Cluster: "c", StoreDir: "x", Replicas: 3}, "give --nats-url too"},
		{"a domain of its own", Config{Cluster: "c", StoreDir: "x", Domain: "hub"}, "give --nats-url too"},
		{"no domain", Config{Cluster: "c", URLs: []string{"nats://x"}, Domain: "a.b"}, `JetStream domain "a.b" is no name`},
		{"many replicas", Config{Cluster: "c", URLs: []string{"nats://x"}, Replicas: 7}, "--nats-replicas 1 to 5"},
		{"half a pair", Config{Cluster: "c", URLs: []string{"nats://x"}, TLS: TLS{Cert: "x"}}, "come together"},
		{"no such credentials", Config{Cluster: "c", URLs: []string{"nats://127.0.0.1:1"}, Credentials: "/nowhere"}, "/nowhere"},
		{"no such CA", Config{Cluster: "c", URLs: []string{"nats://127.0.0.1:1"}, TLS: TLS{CA: "/nowhere"}}, "/nowhere"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Open(t.Context(), tc.c)
			require.Contains(t, hint.TextOf(err), tc.want)
		})
	}
}

func TestTokensAreReversible(t *testing.T) {
	require.Equal(t, "cp1_2eexample_2eorg", NameToken("cp1.example.org"))
	require.Equal(t, "_", NameToken(""))
	seen := map[string]string{}
	for _, name := range []string{"", "_", "a", "A", "a.b", "a_2eb", "a b", "*", ">", "a>b", "é", "a/b", `a\b`, "a\tb"} {
		token := NameToken(name)
		require.Regexp(t, `^[A-Za-z0-9_-]+$`, token)
		require.NotContains(t, seen, token)
		seen[token] = name
	}
	odd := eventtest.Certificate
	odd.Node = "a.*"
	require.Equal(t, "rotate-certs.v1.my_20cluster.certificate.expired.a_2e_2a", SubjectOf(event.New("my cluster", at, event.CertificateExpired{Certificate: odd})))
	require.Equal(t, "rotate-certs.v1.prod.rotation.requested._", SubjectOf(event.New("prod", at, request("auto-1"))))
}

// TestARequestIsAsOldAsNATSSays: an event need not have a time, and its publisher's clock may
// be wrong; old requests are dropped.
func TestARequestIsAsOldAsNATSSays(t *testing.T) {
	b := openReady(t, testConfig(t))
	_, js := raw(t, b)
	for name, at := range map[string]any{"without": nil, "long-past": "2020-01-01T00:00:00Z"} {
		e := event.New("prod", time.Now(), request(name))
		body, err := e.MarshalJSON()
		require.NoError(t, err)
		var fields map[string]any
		require.NoError(t, json.Unmarshal(body, &fields))
		if fields["time"] = at; at == nil {
			delete(fields, "time")
		}
		body, err = json.Marshal(fields)
		require.NoError(t, err)
		_, err = js.Publish(t.Context(), SubjectOf(e), body, jetstream.WithMsgID(name))
		require.NoError(t, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	received := 0
	_ = b.ReceiveRequests(ctx, func(_ context.Context, e event.Event) error {
		require.WithinDuration(t, time.Now(), e.Time, soon)
		if received++; received == 2 {
			cancel()
		}
		return nil
	})
	require.Equal(t, 2, received)
}

// TestStreamNamesAreShort, as NATS advises, and differ between clusters.
func TestStreamNamesAreShort(t *testing.T) {
	seen := map[string]string{}
	for _, cluster := range []string{"prod", "cluster-one", "production-eu-1", "production-eu-2", "3f2504e0-4f89-11d3-9a0c-0305e82c3301", strings.Repeat("é", 100)} {
		for _, name := range []string{EventStream(cluster), CompromisedStream(cluster)} {
			require.Less(t, len(name), 32)
			require.NotContains(t, seen, name)
			seen[name] = cluster
		}
	}
	require.Equal(t, "rotate-certs-events-cluster-one", EventStream("cluster-one"))
	require.Equal(t, "rotate-certs-events-d1bfaf4aff6", EventStream("3f2504e0-4f89-11d3-9a0c-0305e82c3301"))
}

// TestEventsOfAnotherVersionFitIntoTheStream, whose subjects no upgrade has to change.
func TestEventsOfAnotherVersionFitIntoTheStream(t *testing.T) {
	b := openReady(t, testConfig(t))
	_, js := raw(t, b)
	ack, err := js.Publish(t.Context(), "rotate-certs.v2.prod.certificate.expiring._", []byte("{}"))
	require.NoError(t, err)
	require.Equal(t, EventStream("prod"), ack.Stream)
}
