package bus

import (
	"context"
	"fmt"
	"net/url"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// runServer runs a NATS server with JetStream in this process.
func runServer(t *testing.T, o *server.Options) *server.Server {
	t.Helper()
	o.Host, o.NoSigs, o.NoLog, o.JetStream, o.StoreDir = "127.0.0.1", true, true, true, t.TempDir()
	s, err := server.NewServer(o)
	require.NoError(t, err)
	go s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	require.True(t, s.ReadyForConnections(soon))
	return s
}

func jetStreamOf(t *testing.T, s *server.Server) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect(s.ClientURL())
	require.NoError(t, err)
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	return js
}

// hub runs a server whose JetStream domain is "hub", and returns what makes another its leaf node.
func hub(t *testing.T) (s *server.Server, joined func(account string) func(*server.Options)) {
	t.Helper()
	s = runServer(t, &server.Options{ServerName: "hub", Port: -1, JetStreamDomain: "hub", LeafNode: server.LeafNodeOpts{Host: "127.0.0.1", Port: -1}})
	v, err := s.Varz(nil)
	require.NoError(t, err)
	at := &url.URL{Scheme: "nats", Host: fmt.Sprintf("127.0.0.1:%d", v.LeafNode.Port)}
	return s, func(account string) func(*server.Options) {
		return func(o *server.Options) {
			o.ServerName, o.JetStreamDomain = "leaf", "leaf"
			o.LeafNode.Remotes = []*server.RemoteLeafOpts{{LocalAccount: account, URLs: []*url.URL{at}}}
		}
	}
}

// TestStreamsAreInTheDomainThatIsNamed, beyond the leaf node that the watcher connects to, with
// the document's permissions there, changed as it says.
func TestStreamsAreInTheDomainThatIsNamed(t *testing.T) {
	server, joined := hub(t)
	s := newSite(t, "$JS.API.", "$JS.hub.API.")
	s.start(joined("ROTATE_CERTS"))
	c := s.busConfig()
	c.Domain = "hub"
	b := openReady(t, c)
	require.NoError(t, b.Publish(request("auto-1")))
	flushed(t, b)
	require.Len(t, replayed(t, b), 1)
	got := make(chan event.Event, 1)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e; return nil })
	require.Equal(t, request("auto-1"), receive(t, got).Data)
	stream, err := jetStreamOf(t, server).Stream(t.Context(), EventStream("prod"))
	require.NoError(t, err)
	require.EqualValues(t, 1, stream.CachedInfo().State.Msgs)
}
