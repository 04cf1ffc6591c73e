package dashboard

import (
	"bufio"
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

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

const eventsPath = "/clusters/prod/watcher-events"

// fakeWatcher has events, and sends others until the connection ends.
type fakeWatcher struct {
	kept    []string
	more    chan string
	open    atomic.Int64 // connections that follow
	opened  atomic.Int64
	refusal error
}

func newFakeWatcher(count int) *fakeWatcher {
	out := &fakeWatcher{more: make(chan string)}
	for n := range count {
		out.kept = append(out.kept, sampleEvent(n, "etcd-server"))
	}
	return out
}

func sampleEvent(n int, name string) string {
	return fmt.Sprintf(`{"id":"id-%03d","type":"io.rotate-certs.certificate.renewed.v1","time":%q,"data":{"node":"cp1","service":"etcd","name":%q,"notAfter":"2027-11-30T03:00:00Z"}}`,
		n, testNow.Add(time.Duration(n)*time.Second).Format(time.RFC3339), name)
}

func (f *fakeWatcher) send(ctx context.Context, _ time.Time, follow bool, pass func(watcherevents.Event) error) error {
	if f.refusal != nil {
		return f.refusal
	}
	passLine := func(line string) error {
		e, err := watcherevents.ParseEvent([]byte(line))
		if err != nil {
			return err
		}
		return pass(e)
	}
	if follow {
		f.opened.Add(1)
		f.open.Add(1)
		defer f.open.Add(-1)
	}
	for _, line := range f.kept {
		if err := passLine(line); err != nil {
			return err
		}
	}
	for follow {
		select {
		case line := <-f.more:
			if err := passLine(line); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func startWatched(t *testing.T, f *fakeWatcher) *browser {
	t.Helper()
	return startServer(t, fixedOptions(oneCluster(&fakeCluster{events: f.send}))).signIn()
}

// awaitEvents opens the page of the cluster until it has a text: the page does not wait long for
// events.
func awaitEvents(t *testing.T, b *browser, text string) answer {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		page := b.get("/clusters/prod")
		if strings.Contains(page.body, text) {
			return page
		}
		require.True(t, time.Now().Before(end), "%q is not on the page: %s", text, page.body)
	}
}

func TestEventsOfTheWatcherAreShownNewestFirst(t *testing.T) {
	f := newFakeWatcher(newestEvents + 20)
	f.kept = append(f.kept, sampleEvent(500, "<script>alert(1)</script>\u202e"))
	b := startWatched(t, f)
	page := awaitEvents(t, b, "etcd &lt;script&gt;alert(1)&lt;/script&gt;").body
	assert.NotContains(t, page, "<script>alert")
	assert.Equal(t, newestEvents, strings.Count(page, `<li data-id="id-`))
	assert.Less(t, strings.Index(page, "id-500"), strings.Index(page, "id-119"))
	assert.NotContains(t, page, "id-020")
	assert.Contains(t, page, "was renewed, and is valid until 2027-11-30 03:00 UTC", "in the words of the command")
	assert.Contains(t, page, `data-events="`+eventsPath+`?after=id-500"`)
	assert.Zero(t, f.opened.Load(), "a page without a script follows nothing")
}

// TestEventsThatAreNotReadBreakNoPage: the section has the reason, and the rest of the page is there.
func TestEventsThatAreNotReadBreakNoPage(t *testing.T) {
	released := make(chan struct{})
	t.Cleanup(func() { close(released) })
	forbidden := newFakeWatcher(0)
	forbidden.refusal = hint.AddTo(errors.New("read events: services/proxy is forbidden"), "an administrator can bind the Role rotate-certs:view in namespace rotate-certs to you")
	malformed := newFakeWatcher(1)
	malformed.kept = append(malformed.kept, "<b>nonsense</b>")
	for name, test := range map[string]struct {
		events func(context.Context, time.Time, bool, func(watcherevents.Event) error) error
		says   string
	}{
		"forbidden": {forbidden.send, "rotate-certs:view"},
		"malformed": {malformed.send, "not an event: &#34;&lt;b&gt;nonsense&lt;/b&gt;&#34;"},
		"hangs": {func(context.Context, time.Time, bool, func(watcherevents.Event) error) error {
			<-released
			return nil
		}, "Reading the events of the watcher"},
		"panics": {func(context.Context, time.Time, bool, func(watcherevents.Event) error) error { panic("x") }, "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			b := startServer(t, fixedOptions(oneCluster(&fakeCluster{events: test.events}))).signIn()
			page := awaitEvents(t, b, test.says)
			assert.Equal(t, http.StatusOK, page.status)
			assert.Contains(t, page.body, `id="history"`)
			assert.NotContains(t, page.body, "data-events", "nothing is followed")
		})
	}
}

// TestTooManyEventsAreReadLessFarBack: the newest are shown, and the page names how far back.
func TestTooManyEventsAreReadLessFarBack(t *testing.T) {
	long := `{"id":"old","type":"io.rotate-certs.x.v1","subject":"` + strings.Repeat("x", readBytes/4) + `"}`
	e, err := watcherevents.ParseEvent([]byte(long))
	require.NoError(t, err)
	f := newFakeWatcher(1)
	events := func(ctx context.Context, since time.Time, follow bool, pass func(watcherevents.Event) error) error {
		for range 5 {
			if err := pass(e); since.IsZero() && err != nil {
				return err
			} else if !since.IsZero() {
				break
			}
		}
		return f.send(ctx, since, follow, pass)
	}
	b := startServer(t, fixedOptions(oneCluster(&fakeCluster{events: events}))).signIn()
	assert.Contains(t, awaitEvents(t, b, `<li data-id="id-000"`).body, "those since 2026-11-29 03:00:00 UTC")
}

func TestNoEventsWithoutAWatcher(t *testing.T) {
	f := newFakeWatcher(1)
	cluster := &fakeCluster{events: f.send, state: func(context.Context) (State, error) { return State{}, nil }}
	assert.NotContains(t, startServer(t, fixedOptions(oneCluster(cluster))).signIn().get("/clusters/prod").body, "Events of the watcher")
}

// openStream reads the lines of a stream until the test ends.
func openStream(t *testing.T, b *browser, path, lastID string) (lines *bufio.Scanner, leave func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.server.address+b.server.full(path), nil)
	require.NoError(t, err)
	if lastID != "" {
		r.Header.Set("Last-Event-ID", lastID)
	}
	response, err := b.client.Do(r)
	require.NoError(t, err)
	t.Cleanup(func() { cancel(); _ = response.Body.Close() })
	require.Equal(t, http.StatusOK, response.StatusCode)
	assert.Equal(t, contentEvents, response.Header.Get("Content-Type"))
	return bufio.NewScanner(response.Body), cancel
}

// nextLines are the next lines of a stream with a prefix.
func nextLines(t *testing.T, lines *bufio.Scanner, prefix string, count int) []string {
	t.Helper()
	var out []string
	for len(out) < count {
		require.True(t, lines.Scan(), "the stream has ended after %q", out)
		if text, is := strings.CutPrefix(lines.Text(), prefix); is {
			out = append(out, text)
		}
	}
	return out
}

func TestWatcherEventsAreSentAsTheyCome(t *testing.T) {
	f := newFakeWatcher(3)
	b := startWatched(t, f)
	lines, leave := openStream(t, b, eventsPath+"?after=id-000", "id-001")
	assert.Equal(t, []string{"id-002"}, nextLines(t, lines, "id: ", 1), "Last-Event-ID has precedence")
	f.more <- sampleEvent(1, "again")
	f.more <- sampleEvent(7, "<b>")
	assert.Equal(t, []string{`{"id":"id-007","time":"2026-11-30 03:00:07 UTC","node":"cp1","text":"etcd \u003cb\u003e was renewed, and is valid until 2027-11-30 03:00 UTC"}`},
		nextLines(t, lines, "data: ", 3)[2:])
	assert.EqualValues(t, 1, f.open.Load())
	leave()
	require.Eventually(t, func() bool { return f.open.Load() == 0 && len(b.server.streams) == 0 }, 20*time.Second, time.Millisecond, "the page has ended, and its connection to the watcher has not")

	lines, _ = openStream(t, b, eventsPath, "no-such-id")
	assert.Equal(t, []string{"again"}, nextLines(t, lines, "event: ", 1))
	lines, _ = openStream(t, b, eventsPath, "id-002")
	f.more <- "nonsense"
	assert.Contains(t, nextLines(t, lines, "data: ", 2)[1], "not an event")
	lines.Scan() // the empty line behind the event
	assert.False(t, lines.Scan(), "it ends: the browser connects again")
}

// TestEventOfAClockBehindIsSent: an event that comes with a time before those of the list is a new one,
// and those before the list are not sent.
func TestEventOfAClockBehindIsSent(t *testing.T) {
	f := newFakeWatcher(newestEvents + 5)
	b := startWatched(t, f)
	lines, _ := openStream(t, b, eventsPath+"?after=id-103", "")
	assert.Equal(t, []string{"id-104"}, nextLines(t, lines, "id: ", 1))
	f.more <- sampleEvent(-10, "late")
	assert.Equal(t, []string{"id--10"}, nextLines(t, lines, "id: ", 1))
}

// TestSeventyPagesFollowTheWatcher: those beyond the limit are refused, each other has one connection.
func TestSeventyPagesFollowTheWatcher(t *testing.T) {
	f := newFakeWatcher(1)
	b := startWatched(t, f)
	for range maxStreams {
		openStream(t, b, eventsPath, "")
	}
	for range 70 - maxStreams {
		refused := b.get(eventsPath)
		assert.Equal(t, http.StatusServiceUnavailable, refused.status)
		assert.Equal(t, "5", refused.header.Get("Retry-After"))
	}
	require.Eventually(t, func() bool { return f.open.Load() == maxStreams }, 20*time.Second, time.Millisecond)
	assert.EqualValues(t, maxStreams, f.opened.Load())
	b.server.stop()
	require.Eventually(t, func() bool { return f.open.Load() == 0 }, 20*time.Second, time.Millisecond)
}

func TestAPISendsEventsOfTheWatcher(t *testing.T) {
	f := newFakeWatcher(2)
	c := withToken(t, fixedOptions(oneCluster(&fakeCluster{events: f.send})))
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.server.address+prodPath+"/events?after=id-000", nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+testToken)
	response, err := c.http.Do(r)
	require.NoError(t, err)
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	assert.Equal(t, []string{"id-001"}, nextLines(t, lines, "id: ", 1))
	assert.Equal(t, []string{f.kept[1]}, nextLines(t, lines, "data: ", 1), "the whole CloudEvent")
	assert.Equal(t, http.StatusNotFound, c.send(http.MethodGet, "/api/v1/clusters/x/events", "", nil).status)
}
