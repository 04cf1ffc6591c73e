package bus

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// elected is in what time a cluster of NATS servers has certainly chosen new leaders.
const elected = 2 * time.Minute

// natsCluster runs three servers as one.
func natsCluster(t *testing.T) map[string]*server.Server {
	t.Helper()
	var routes []*url.URL
	for range 3 {
		free, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer free.Close()
		routes = append(routes, &url.URL{Scheme: "nats", Host: free.Addr().String()})
		require.NoError(t, free.Close())
	}
	servers := map[string]*server.Server{}
	for i, own := range routes {
		var port int
		_, err := fmt.Sscan(own.Port(), &port)
		require.NoError(t, err)
		name := fmt.Sprint("nats-", i)
		servers[name] = runServer(t, &server.Options{ServerName: name, Port: -1, Routes: routes,
			Cluster: server.ClusterOpts{Name: "nats", Host: "127.0.0.1", Port: port, PoolSize: -1}})
	}
	return servers
}

// TestAClusterOfThreeLosesOne, the one that leads the stream, which an earlier watcher has made
// on one server only: what was acknowledged is there, and the watcher publishes and consumes on.
func TestAClusterOfThreeLosesOne(t *testing.T) {
	servers := natsCluster(t)
	js := jetStreamOf(t, servers["nats-0"])
	require.Eventually(t, func() bool { // they choose a leader first
		_, err := js.CreateOrUpdateStream(t.Context(), declaredStreams("prod", 1)[0].StreamConfig)
		return err == nil
	}, elected, 100*tick)
	b := openTest(t, testConfig(t, func(c *Config) {
		c.StoreDir, c.Replicas = "", 3
		for _, s := range servers {
			c.URLs = append(c.URLs, s.ClientURL())
		}
	}))
	ctx, cancel := context.WithTimeout(t.Context(), elected)
	defer cancel()
	require.NoError(t, b.WaitReady(ctx))
	got := make(chan string, 10)
	background(t, b.ReceiveRequests, func(_ context.Context, e event.Event) error { got <- e.Subject; return nil })
	receiveIn := func(want string) {
		t.Helper()
		select {
		case name := <-got:
			require.Equal(t, want, name)
		case <-ctx.Done():
			t.Fatalf("%s did not come: %v", want, b.Ready())
		}
	}
	require.NoError(t, b.Publish(request("before")))
	receiveIn("before")
	require.Eventually(t, func() bool { return b.Stats().Handled == 1 }, elected, tick)
	var leader string
	require.Eventually(t, func() bool { // the new replicas have what the first one has
		stream, err := b.rotator.jetStream().Stream(t.Context(), EventStream("prod"))
		if err != nil {
			return false
		}
		in := stream.CachedInfo().Cluster
		leader = in.Leader
		return len(in.Replicas) == 2 && !slices.ContainsFunc(in.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
	}, elected, 100*tick)

	lost := servers[leader]
	lost.Shutdown()
	lost.WaitForShutdown()
	require.NoError(t, b.Publish(request("after")))
	receiveIn("after")
	require.NoError(t, b.WaitReady(ctx))
	require.Eventually(t, func() bool {
		var names []string
		err := b.ReplayEvents(ctx, time.Time{}, false, func(e event.Event) error { names = append(names, e.Subject); return nil })
		return err == nil && fmt.Sprint(names) == "[before after]"
	}, elected, 100*tick)
}
