package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestHangingClustersHoldUpNothing(t *testing.T) {
	clusters := &fakeClusters{clusters: map[string]*fakeCluster{}}
	for i := range 100 {
		name := fmt.Sprintf("c%02d", i)
		clusters.contexts = append(clusters.contexts, Context{Name: name, Server: "https://" + name})
		clusters.clusters[name] = &fakeCluster{}
		if i < 20 {
			clusters.clusters[name].state = func(ctx context.Context) (State, error) {
				<-ctx.Done()
				return State{}, ctx.Err()
			}
		}
	}
	ts := startServer(t, fixedOptions(clusters))
	b := ts.signIn()
	began := time.Now()
	page := b.get("/")
	assert.Less(t, time.Since(began), summaryTimeout/2, "the page waits for no cluster")
	assert.Equal(t, 100, strings.Count(page.body, "data-row="), "each row is loaded by a request of its own")
	assert.Contains(t, page.body, "<noscript>")
	hanging := b.get("/row?context=c00")
	assert.Less(t, time.Since(began), summaryTimeout, "the request does not wait for the cluster's deadline")
	assert.Contains(t, hanging.body, "data-row=", "it is asked for again")
	loaded := b.get("/row?context=c99")
	assert.NotContains(t, loaded.body, "data-row=")
	assert.Contains(t, loaded.body, "attention")
	assert.Contains(t, loaded.body, "etcd waits for the window")
}

func TestUnreachableClustersShowTheLastState(t *testing.T) {
	broken := atomic.Bool{}
	c := &clock{}
	cluster := &fakeCluster{state: func(context.Context) (State, error) {
		if broken.Load() {
			return State{}, hint.AddTo(errors.New("dial tcp: connection refused"), "is it running?")
		}
		return sampleState(3), nil
	}}
	ts := startServer(t, Options{Clusters: oneCluster(cluster), Now: c.now})
	b := ts.signIn()
	b.get("/?load=all")
	b.get("/clusters/prod")
	broken.Store(true)
	c.seconds.Store(60)
	b.get("/?load=all")
	c.seconds.Store(120)
	page := b.get("/?load=context:prod")
	for _, want := range []string{"unreachable", "since 2026-11-30 03:01 UTC", "as of 2026-11-30 03:00 UTC", "etcd-client on cp1"} {
		assert.Contains(t, page.body, want)
	}
	page = b.get("/clusters/prod")
	for _, want := range []string{"Unreachable since 2026-11-30 03:02:00 UTC", "Hint: is it running?", "as of 2026-11-30 03:00:00 UTC", "kube-apiserver-client"} {
		assert.Contains(t, page.body, want)
	}
}

func TestOneNodeIsNotCalledNodes(t *testing.T) {
	b := startServer(t, fixedOptions(oneCluster(&fakeCluster{state: func(context.Context) (State, error) { return State{Nodes: 1}, nil }}))).signIn()
	for _, page := range []string{"/?load=all", "/clusters/prod"} {
		assert.Contains(t, b.get(page).body, "1 node<", page)
	}
}

func TestUnknownWatcherIsNotCalledMissing(t *testing.T) {
	cluster := &fakeCluster{state: func(context.Context) (State, error) {
		return State{Nodes: 3, WatcherUnknown: "list deployments: forbidden"}, nil
	}}
	b := startServer(t, fixedOptions(oneCluster(cluster))).signIn()
	assert.NotContains(t, b.get("/?load=all").body, "not installed")
	page := b.get("/clusters/prod").body
	assert.Contains(t, page, "Whether the watcher is installed is unknown: list deployments: forbidden")
	assert.NotContains(t, page, "The watcher is not installed")
}

func TestOddContextNames(t *testing.T) {
	names := []string{"a/b", "user@host:6443", "arn:aws:eks:eu-west-1:1:cluster/x y", "..", ".", "~", "~..", "a%2Fb", "ü?#&=\"<x>", "plans"}
	clusters := &fakeClusters{clusters: map[string]*fakeCluster{}}
	for _, name := range names {
		clusters.contexts = append(clusters.contexts, Context{Name: name, Server: "https://" + fmt.Sprint(len(clusters.contexts))})
		clusters.clusters[name] = &fakeCluster{}
	}
	ts := startServer(t, fixedOptions(clusters))
	b := ts.signIn()
	overview := b.get("/?load=all")
	for _, name := range names {
		path := clusterPath(name)
		assert.Contains(t, overview.body, `href="`+strings.NewReplacer("&", "&amp;").Replace(path)+`"`, name)
		assert.Equal(t, http.StatusOK, b.get(path).status, name)
		plan := b.plan(path)
		b.awaitPage(b.save(plan), "succeeded")
	}
}

func TestFilterAndOrderAreInTheAddress(t *testing.T) {
	clusters := oneCluster(&fakeCluster{})
	clusters.contexts = append(clusters.contexts, Context{Name: "broken", Server: "https://10.0.0.2"}, Context{Name: "away", Server: "https://10.0.0.3"})
	clusters.clusters["away"] = &fakeCluster{state: func(context.Context) (State, error) { return State{}, nil }}
	ts := startServer(t, fixedOptions(clusters))
	b := ts.signIn()
	order := func(path string) []string {
		var out []string
		for _, row := range strings.Split(b.get(path).body, "<tr ")[1:] {
			head, rest, _ := strings.Cut(row, ">")
			if !strings.Contains(head, " hidden") {
				_, rest, _ = strings.Cut(rest, `href="/clusters/`)
				name, _, _ := strings.Cut(rest, `"`)
				out = append(out, name)
			}
		}
		return out
	}
	assert.Equal(t, []string{"broken", "prod", "away"}, order("/?load=all"), "worst first")
	assert.Equal(t, []string{"prod", "broken", "away"}, order("/?sort=name"))
	assert.Equal(t, []string{"prod", "broken", "away"}, order("/?sort=end"))
	assert.Equal(t, []string{"broken"}, order("/?state=unreachable"))
	assert.Equal(t, []string{"prod"}, order("/?q=10.0.0.1"))
	assert.Contains(t, b.get("/?q=x&sort=end").body, `value="x"`)
}

func TestCallsEndAtTheirDeadline(t *testing.T) {
	c := newCalls[int](50*time.Millisecond, 1, 2, newOpenCalls(), time.Now)
	proceed := make(chan struct{})
	<-c.startCall(t.Context(), "hangs", func(context.Context) (int, error) { <-proceed; return 1, nil })
	require.ErrorContains(t, c.latestResult("hangs").Err, "no answer within 50ms")
	assert.Len(t, c.slots, 1, "it still counts, since it has not ended")
	close(proceed)
	<-c.startCall(t.Context(), "panics", func(context.Context) (int, error) { panic("x") })
	require.ErrorContains(t, c.latestResult("panics").Err, "internal error: x")
	<-c.startCall(t.Context(), "works", func(context.Context) (int, error) { return 7, nil })
	assert.Equal(t, 7, *c.latestResult("works").Value)
	assert.Len(t, c.entries, 2, "the oldest result is dropped")
	assert.Nil(t, c.latestResult("hangs").Err)
}

func TestCallsOfOneKeyAreOne(t *testing.T) {
	c := newCalls[int](time.Minute, 4, 4, newOpenCalls(), time.Now)
	proceed := make(chan struct{})
	first := c.startCall(t.Context(), "x", func(context.Context) (int, error) { <-proceed; return 1, nil })
	second := c.startCall(t.Context(), "x", func(context.Context) (int, error) { return 2, nil })
	assert.Equal(t, first, second)
	close(proceed)
	<-second
	assert.Equal(t, 1, *c.latestResult("x").Value)
}

func TestCallThatBeganBeforeAChangeIsOutdated(t *testing.T) {
	c := newCalls[int](time.Minute, 4, 4, newOpenCalls(), time.Now)
	proceed := make(chan struct{})
	done := c.startCall(t.Context(), "x", func(context.Context) (int, error) { <-proceed; return 1, nil })
	c.expireResult("x")
	close(proceed)
	<-done
	assert.Equal(t, 1, *c.latestResult("x").Value)
	assert.True(t, c.latestResult("x").Ended.IsZero(), "the next page calls again")
	<-c.startCall(t.Context(), "x", func(context.Context) (int, error) { return 2, nil })
	assert.False(t, c.latestResult("x").Ended.IsZero())
}

func TestScansAndJournalsAreReadOnRequest(t *testing.T) {
	cluster := &fakeCluster{state: func(context.Context) (State, error) { return State{Nodes: 3}, nil }}
	b := startServer(t, fixedOptions(oneCluster(cluster))).signIn()
	assert.Contains(t, b.get("/clusters/prod").body, "No agents report certificates here")
	assert.Equal(t, http.StatusSeeOther, b.post("/clusters/prod/scan", "").status)
	page := b.awaitPage("/clusters/prod", "by a scan")
	assert.Contains(t, page.body, "As of 2026-11-30 03:00:00 UTC")
	assert.Contains(t, page.body, "kubernetes-ca")
	b.post("/clusters/prod/journals", "")
	assert.Contains(t, b.awaitPage("/clusters/prod", "7f3c2a").body, "succeeded")
	b.post("/clusters/prod/history/7f3c2a", "")
	assert.Contains(t, b.awaitPage("/clusters/prod/history/7f3c2a", "did not become healthy").body, "its log says why")
}

func TestMarks(t *testing.T) {
	marked := make(chan Mark, 1)
	deleted := make(chan string, 1)
	cluster := &fakeCluster{mark: func(_ context.Context, m Mark) error { marked <- m; return nil },
		deleteMark: func(_ context.Context, name string) error { deleted <- name; return nil }}
	b := startServer(t, fixedOptions(oneCluster(cluster))).signIn()
	assert.Equal(t, http.StatusBadRequest, b.post("/clusters/prod/marks", "service=etcd").status, "a reason is required")
	assert.Equal(t, http.StatusBadRequest, b.post("/clusters/prod/marks", "service=etcd&reason=x&fingerprint=12").status)
	form := "service=etcd&reason=leaked&node=cp1&fingerprint=" + strings.Repeat("AB:", 31) + "AB"
	assert.Equal(t, http.StatusSeeOther, b.post("/clusters/prod/marks", form).status)
	assert.Equal(t, Mark{Service: certs.Etcd, Nodes: []string{"cp1"}, Fingerprint: strings.Repeat("ab", 32), Reason: "leaked"}, <-marked)
	assert.Contains(t, b.get("/clusters/prod").body, `action="/clusters/prod/marks/admin-x7k2p/delete"`)
	assert.Equal(t, http.StatusSeeOther, b.post("/clusters/prod/marks/admin-x7k2p/delete", "").status)
	assert.Equal(t, "admin-x7k2p", <-deleted)
}
