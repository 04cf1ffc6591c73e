package bus

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event/eventtest"
)

// answer is a response that has come to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// serve serves a bus's events and gives two clients: one reads all, one reads as it comes.
func serve(t *testing.T, b *Bus) (get func(string) answer, follow func(context.Context, string) io.Reader) {
	t.Helper()
	s := httptest.NewServer(b.EventsHandler())
	t.Cleanup(s.Close)
	get = func(pathAndQuery string) answer {
		t.Helper()
		response, err := http.Get(s.URL + pathAndQuery)
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return answer{response.StatusCode, response.Header, string(text)}
	}
	follow = func(ctx context.Context, pathAndQuery string) io.Reader {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+pathAndQuery, nil)
		require.NoError(t, err)
		response, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { response.Body.Close() })
		return response.Body
	}
	return get, follow
}

func TestEventsAreServedALineEach(t *testing.T) {
	b := openReady(t, testConfig(t))
	get, _ := serve(t, b)
	empty := get("/events")
	require.Equal(t, http.StatusOK, empty.status)
	require.Equal(t, "application/x-ndjson", empty.header.Get("Content-Type"))
	require.Empty(t, empty.body)

	for _, data := range eventtest.All() {
		require.NoError(t, b.Publish(data))
		flushed(t, b)
	}
	response := get("/events?since=1h&follow=false")
	var got []event.Data
	for lines := bufio.NewScanner(strings.NewReader(response.body)); lines.Scan(); {
		var e event.Event
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		got = append(got, e.Data)
	}
	require.Equal(t, eventtest.All(), got)

	future := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	require.Empty(t, get("/events?since="+future).body)
	past := time.Now().Add(-time.Hour).Format("2006-01-02T15:04:05") + "+00:00" // "+" not escaped
	require.NotEmpty(t, get("/events?since="+past).body)
}

func TestFollowersReceiveAtOnceAndEndWithTheirClient(t *testing.T) {
	b := openReady(t, testConfig(t))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, follow := serve(t, b)
	stream := follow(ctx, "/events?follow=true")
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(stream); s.Scan(); {
			lines <- s.Text()
		}
	}()
	for _, name := range []string{"auto-1", "auto-2"} {
		require.NoError(t, b.Publish(request(name)))
		require.Contains(t, receive(t, lines), `"subject":"`+name+`"`)
	}
	require.Equal(t, 1, b.Stats().Followers)
	cancel()
	require.Eventually(t, func() bool { return b.Stats().Followers == 0 }, soon, tick)
}

func TestFollowerContinuesInANewStream(t *testing.T) {
	c := testConfig(t)
	b := openReady(t, c)
	got := make(chan string, 10)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- b.ReplayEvents(ctx, time.Time{}, true, func(e event.Event) error { got <- e.Subject; return nil })
	}()
	require.NoError(t, b.Publish(request("before")))
	require.Equal(t, "before", receive(t, got))
	_, js := raw(t, b)
	require.NoError(t, js.DeleteStream(t.Context(), EventStream("prod")))
	require.NoError(t, b.Publish(request("after")))
	require.Equal(t, "after", receive(t, got))
	cancel()
	require.ErrorIs(t, receive(t, ended), context.Canceled)
}

func TestReplayEndsWithItsReader(t *testing.T) {
	b := openReady(t, testConfig(t))
	require.NoError(t, b.Publish(request("auto-1")))
	enough := errors.New("enough")
	err := b.ReplayEvents(t.Context(), time.Time{}, true, func(event.Event) error { return enough })
	require.Equal(t, enough, err)
}

func TestClosingEndsFollowers(t *testing.T) {
	b := openReady(t, testConfig(t))
	ended := make(chan error, 1)
	go func() {
		ended <- b.ReplayEvents(context.Background(), time.Time{}, true, func(event.Event) error { return nil })
	}()
	b.Close()
	require.Error(t, receive(t, ended))
}

func TestQuietFollowersAreKeptAlive(t *testing.T) {
	b := openReady(t, testConfig(t, func(c *Config) { c.tuning.keepAlive = time.Millisecond }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make([]byte, 1)
	_, follow := serve(t, b)
	_, err := follow(ctx, "/events?follow=true").Read(first)
	require.NoError(t, err)
	require.Equal(t, "\n", string(first))
}

func TestEventsRefuses(t *testing.T) {
	b := openReady(t, testConfig(t, func(c *Config) { c.tuning.followers = 1 }))
	get, follow := serve(t, b)
	for query, want := range map[string]string{
		"since=yesterday":                        `since="yesterday" is neither a duration nor a time` + "\nhint: since=2h",
		"since=-2h":                              "is neither a duration nor a time",
		"follow=perhaps":                         `follow="perhaps" is neither true nor false` + "\nhint: follow=true",
		"since=" + url.QueryEscape("2030-05-17"): "is neither a duration nor a time",
	} {
		response := get("/events?" + query)
		require.Equal(t, http.StatusBadRequest, response.status, query)
		require.Contains(t, response.body, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	follow(ctx, "/events?follow=1")
	response := get("/events")
	require.Equal(t, http.StatusTooManyRequests, response.status)
	require.NotEmpty(t, response.header.Get("Retry-After"))
	require.Contains(t, response.body, "already 1 readers of events")

	recorder := httptest.NewRecorder()
	b.EventsHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodPost, "/events", nil))
	require.Equal(t, http.StatusMethodNotAllowed, recorder.Code)
}

func TestEventsWhileNATSIsUnavailable(t *testing.T) {
	b := openTest(t, testConfig(t, func(c *Config) { c.URLs, c.StoreDir = []string{"nats://127.0.0.1:1"}, "" }))
	recorder := httptest.NewRecorder()
	b.EventsHandler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, "/events", nil))
	require.Equal(t, http.StatusServiceUnavailable, recorder.Code)
	require.Contains(t, recorder.Body.String(), "events cannot be read now: NATS as reporter")
}

// TestDocumentedUsersFileIsValid reads the example that the document gives.
func TestDocumentedUsersFileIsValid(t *testing.T) {
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```\n(# ROLE .*?)```").FindStringSubmatch(string(text))
	require.NotNil(t, block)
	users, keys, err := parseUsers(block[1], "prod")
	require.NoError(t, err)
	require.Len(t, users, 1)
	require.Len(t, keys, 1)
}
