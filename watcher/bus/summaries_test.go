package bus

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// readsSummaries is the configuration of a watcher that serves the dashboard.
func (s *site) readsSummaries() Config {
	c := s.busConfig()
	c.ShareSummary, c.ReadSummaries, c.FleetCredentials = true, true, s.seeds[roleFleet]
	return c
}

// bucketOf is the bucket for a user of the account.
func bucketOf(t *testing.T, nc *nats.Conn) jetstream.KeyValue {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	out, err := js.KeyValue(t.Context(), summaryBucket)
	require.NoError(t, err)
	return out
}

// dialAdmin connects to a site as a user without limits, whom withAdmin has added.
func (s *site) dialAdmin() *nats.Conn {
	s.t.Helper()
	nc, err := nats.Connect(s.server.ClientURL(), nats.UserInfo("admin", "secret-of-admin"), nats.RootCAs(s.dir+"/ca.crt"))
	require.NoError(s.t, err)
	s.t.Cleanup(nc.Close)
	return nc
}

// withAdmin adds a user without limits to the document's configuration.
func withAdmin(t *testing.T) *site {
	t.Helper()
	return newSite(t, "users: [", `users: [ {user: admin, password: "secret-of-admin"}`)
}

// TestSummariesOfAllClusters with the document's users: each cluster has one value, the last one.
func TestSummariesOfAllClusters(t *testing.T) {
	s := withAdmin(t)
	s.start()
	b := openReady(t, s.readsSummaries())
	found, err := b.ReadSummaries(t.Context())
	require.NoError(t, err)
	require.Empty(t, found, "there is no bucket")

	before := time.Now().Add(-time.Minute)
	require.NoError(t, b.PutSummary(t.Context(), []byte("first")))
	require.NoError(t, b.PutSummary(t.Context(), []byte("second")))
	others := bucketOf(t, s.dialAdmin())
	_, err = others.Put(t.Context(), "a_2eb", []byte("of another"))
	require.NoError(t, err)
	_, err = others.Put(t.Context(), "no.token", []byte("which the user fleet may not read"))
	require.NoError(t, err)
	_, err = others.Put(t.Context(), "removed", []byte("x"))
	require.NoError(t, err)
	require.NoError(t, others.Delete(t.Context(), "removed"))
	found, err = b.ReadSummaries(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 2)
	assert.Equal(t, "a_2eb", found[0].Token)
	assert.Equal(t, "prod", found[1].Token)
	assert.Equal(t, "second", string(found[1].Value))
	assert.True(t, found[1].Written.After(before))

	_, err = others.Put(t.Context(), "large", bytes.Repeat([]byte("x"), SummaryMaxSize+1))
	require.Error(t, err)
}

// TestClusterCannotRemoveSummariesOfOthers: a roll-up header would replace all of them.
func TestClusterCannotRemoveSummariesOfOthers(t *testing.T) {
	s := withAdmin(t)
	s.start()
	b := openReady(t, s.readsSummaries())
	require.NoError(t, b.PutSummary(t.Context(), []byte("mine")))
	_, err := bucketOf(t, s.dialAdmin()).Put(t.Context(), "other", []byte("theirs"))
	require.NoError(t, err)

	js, err := jetstream.New(s.dialServer(roleReporter))
	require.NoError(t, err)
	message := nats.NewMsg(summarySubjects + "prod")
	message.Header.Set("Nats-Rollup", "all")
	_, err = js.PublishMsg(t.Context(), message)
	require.ErrorContains(t, err, "rollup not permitted")
	found, err := b.ReadSummaries(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 2)
}

// TestBucketThatLetsClustersRemoveOthersIsRefused: "nats kv add" makes one.
func TestBucketThatLetsClustersRemoveOthersIsRefused(t *testing.T) {
	s := withAdmin(t)
	s.start()
	js, err := jetstream.New(s.dialAdmin())
	require.NoError(t, err)
	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: summaryBucket})
	require.NoError(t, err)
	b := openReady(t, s.readsSummaries())
	err = b.PutSummary(t.Context(), []byte("x"))
	require.ErrorContains(t, err, "roll-up headers is allowed, not denied")
	require.Contains(t, hint.TextOf(err), "hint: remove it and create it again: nats stream add KV_rotate-certs-clusters")
	_, err = bucketOf(t, s.dialAdmin()).Put(t.Context(), "large", bytes.Repeat([]byte("x"), SummaryMaxSize+1))
	require.NoError(t, err)
	found, err := b.ReadSummaries(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Empty(t, found[0].Value, "what is too large is not kept")
}

// TestForbiddenSummariesDisturbNothing: the server knows neither the bucket nor the user fleet.
func TestForbiddenSummariesDisturbNothing(t *testing.T) {
	for name, replace := range map[string][]string{
		"may not create the bucket": {`"$JS.API.STREAM.CREATE.KV_rotate-certs-clusters"`, ""},
		"may not see the bucket":    {`"$JS.API.STREAM.INFO.KV_rotate-certs-clusters"`, ""},
		"may not write":             {`"$KV.rotate-certs-clusters.prod"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, replace...)
			s.start()
			c := s.readsSummaries()
			c.FleetCredentials = s.seeds[roleIncidentResponder]
			b := openReady(t, c)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			err := b.PutSummary(ctx, []byte("x"))
			require.ErrorIs(t, err, errDenied)
			require.ErrorContains(t, err, `write the summary of cluster "prod" to NATS: `)
			_, err = b.ReadSummaries(ctx)
			require.ErrorIs(t, err, errDenied)
			require.NoError(t, b.Publish(request("auto-1")))
			flushed(t, b)
			require.NoError(t, b.Ready())
		})
	}
}

// TestFleetReadsTheEmbeddedServer, which keeps the bucket over a restart while it is shared.
func TestFleetReadsTheEmbeddedServer(t *testing.T) {
	s := newSite(t)
	c := testConfig(t, func(c *Config) {
		c.Listen = &Listen{Address: "127.0.0.1:0", Users: writeFile(t, s.dir, "users", []byte("fleet ann secret-of-ann\n"))}
		c.Listen.TLS.Cert, c.Listen.TLS.Key = s.dir+"/tls.crt", s.dir+"/tls.key"
		c.ShareSummary, c.ReadSummaries = true, true
	})
	b := openReady(t, c)
	require.NoError(t, b.PutSummary(t.Context(), []byte("mine")))
	b.Close()
	b = openReady(t, c)
	found, err := b.ReadSummaries(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)

	ann, err := nats.Connect("tls://"+b.embedded.server.Addr().String(), nats.UserInfo("ann", "secret-of-ann"), nats.RootCAs(s.dir+"/ca.crt"), nats.CustomInboxPrefix(inboxPrefix+roleFleet))
	require.NoError(t, err)
	defer ann.Close()
	entry, err := bucketOf(t, ann).Get(t.Context(), "prod")
	require.NoError(t, err)
	require.Equal(t, "mine", string(entry.Value()))

	b.Close()
	c.ShareSummary, c.ReadSummaries = false, false
	b = openReady(t, c)
	_, err = b.ReadSummaries(t.Context())
	require.ErrorIs(t, err, errNotRead)
	js, err := jetstream.New(b.rotator.nc)
	require.NoError(t, err)
	_, err = js.Stream(t.Context(), summaryStream)
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
}

// TestSummariesBeyondALeafNode: the document says how permissions change there.
func TestSummariesBeyondALeafNode(t *testing.T) {
	_, joined := hub(t)
	s := newSite(t, "$JS.API.", "$JS.hub.API.", `"$KV.`, `"$JS.hub.API.$KV.`)
	s.start(joined("ROTATE_CERTS"))
	c := s.readsSummaries()
	c.Domain = "hub"
	b := openReady(t, c)
	require.NoError(t, b.PutSummary(t.Context(), []byte("mine")))
	found, err := b.ReadSummaries(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "mine", string(found[0].Value))
}

// slowStream answers no request for a message before many are open at once.
type slowStream struct {
	jetstream.Stream
	subjects map[string]uint64
	open     chan struct{}
}

func (s *slowStream) Info(context.Context, ...jetstream.StreamInfoOpt) (*jetstream.StreamInfo, error) {
	return &jetstream.StreamInfo{State: jetstream.StreamState{Subjects: s.subjects}}, nil
}

func (s *slowStream) GetLastMsgForSubject(ctx context.Context, subject string) (*jetstream.RawStreamMsg, error) {
	select {
	case s.open <- struct{}{}:
	case <-s.open:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return &jetstream.RawStreamMsg{Subject: subject, Data: []byte(subject)}, nil
}

// TestSummariesAreReadAtTheSameTime: each request waits for another one.
func TestSummariesAreReadAtTheSameTime(t *testing.T) {
	s := &slowStream{subjects: map[string]uint64{}, open: make(chan struct{})}
	for i := range 2 * readsAtOnce {
		s.subjects[fmt.Sprintf("%sc%02d", summarySubjects, i)] = 1
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	found, err := readSummaries(ctx, s)
	require.NoError(t, err)
	require.Len(t, found, 2*readsAtOnce)
	assert.True(t, slices.IsSortedFunc(found, func(a, b StoredSummary) int { return strings.Compare(a.Token, b.Token) }))
	assert.Equal(t, summarySubjects+"c07", string(found[7].Value))
}
