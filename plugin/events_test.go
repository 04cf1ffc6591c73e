package plugin

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// published are events of every type, as the watcher sends them.
func published() []string {
	event := func(n int, kind, data string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"id-%02d","type":"io.rotate-certs.%s.v1","source":"/clusters/test","time":"2026-11-24T11:%02d:00Z","datacontenttype":"application/json","data":%s}`, n, kind, n, data)
	}
	certificate := `"node":"cp1","service":"etcd","name":"etcd-server","notAfter":"2026-11-24T12:30:00Z","fingerprintSHA256":"ab12"`
	return []string{
		event(1, "certificate.expiring", `{`+certificate+`,"message":"It is renewed at once."}`),
		event(2, "certificate.expired", `{`+certificate+`}`),
		event(3, "certificate.compromised", `{"service":"kube-apiserver","nodes":["cp1","cp2"],"reason":"key\u001b[2J leaked"}`),
		event(4, "ca.expiring", `{"name":"etcd-ca","notAfter":"2027-01-01T00:00:00Z"}`),
		event(5, "rotation.requested", `{"name":"auto-1","services":["etcd"],"reason":"Expiring","attempt":2}`),
		event(6, "rotation.started", `{"name":"auto-1","rotationID":"7f3c2a","services":["etcd"]}`),
		event(7, "rotation.nodeverified", `{"name":"auto-1","rotationID":"7f3c2a","node":"cp1","message":"2379 and 2380 serve the new certificates"}`),
		event(8, "certificate.renewed", `{`+strings.ReplaceAll(certificate, "2026-11-24T12:30:00Z", "2027-11-24T11:00:00Z")+`,"oldFingerprintSHA256":"cd34"}`),
		event(9, "rotation.succeeded", `{"name":"auto-1","rotationID":"7f3c2a","result":"Succeeded"}`),
		event(10, "rotation.rolledback", `{"name":"auto-2","result":"RolledBack","node":"cp2","message":"etcd did not become healthy"}`),
		event(11, "rotation.failed", `{"name":"auto-3","result":"Failed"}`),
		event(12, "rotation.failed", `{"name":"auto-3","result":"ManualInterventionRequired","node":"cp3"}`),
		event(13, "something.new", `"text"`),
	}
}

func send(lines ...string) func(w http.ResponseWriter, r *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, l := range lines {
			fmt.Fprintln(w, l)
		}
	}
}

func TestEventsAreDescribed(t *testing.T) {
	s := installed(t)
	s.events = send(published()...)
	code, stdout, stderr := s.run(t, "events")
	require.Equal(t, 0, code, stderr)
	golden(t, "events.txt", stdout)
	assert.NotContains(t, stdout, "\x1b", "an event's words do not reach the terminal as they are")

	_, stdout, _ = s.run(t, "events", "-o", "json")
	assert.Equal(t, strings.Join(published(), "\n")+"\n", stdout, "raw")
	_, stdout, _ = s.run(t, "events", "-o", "name")
	assert.Contains(t, stdout, "id-01\nid-02\n")
	_, stdout, _ = s.run(t, "events", "-o", "wide")
	assert.Contains(t, stdout, "[certificate.expiring id-01] sha256=ab12")
}

func TestEventsSendsTheGivenOptions(t *testing.T) {
	s := installed(t)
	var query string
	s.events = func(_ http.ResponseWriter, r *http.Request) { query = r.URL.Path + "?" + r.URL.RawQuery }
	_, _, stderr := s.run(t, "events", "--since", "2h")
	assert.Equal(t, "/api/v1/namespaces/rotate-certs/services/rotate-certs-watcher:http/proxy/events?since=2026-11-24T10%3A00%3A00Z", query)
	assert.Equal(t, "No events.\n", stderr)
	_, _, _ = s.run(t, "events", "--since", "2026-11-20T10:00:00+02:00")
	assert.Contains(t, query, "since=2026-11-20T08%3A00%3A00Z")
}

func TestEventsWithoutAWatcher(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(*apiServerFake)
		says    string
	}{
		"not installed": {func(s *apiServerFake) {
			s.remove("/apis/apps/v1/namespaces/rotate-certs/deployments/rotate-certs-watcher")
		},
			"the watcher is not installed in this cluster\nhint: install it with kubectl rotate-certs --server URL install"},
		"not ready": {func(*apiServerFake) {}, "the watcher does not answer: no endpoints available for service\nhint: kubectl -n rotate-certs get pods"},
		"forbidden": {func(s *apiServerFake) {
			s.events = func(w http.ResponseWriter, _ *http.Request) {
				fail(w, 403, "Forbidden", "services/proxy is forbidden", "x")
			}
		}, "hint: an administrator can bind the Role rotate-certs:view in namespace rotate-certs to you"},
		"interrupted": {func(s *apiServerFake) {
			s.events = func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintln(w, published()[0])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}
		}, "the list is incomplete"},
		"no events at all": {func(s *apiServerFake) { s.events = send("<html>") }, `not an event: "<html>"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := installed(t)
			tt.prepare(s)
			code, _, stderr := s.run(t, "events")
			assert.Equal(t, 1, code)
			assert.Contains(t, strings.ReplaceAll(stderr, s.URL, "URL"), tt.says)
		})
	}
}

// TestFollowingSurvivesRestarts breaks the connection in the middle of a line, refuses
// one, and sends events again that were sent before.
func TestFollowingSurvivesRestarts(t *testing.T) {
	s := installed(t)
	events := published()
	var calls atomic.Int32
	var since []string
	s.events = func(w http.ResponseWriter, r *http.Request) {
		since = append(since, r.URL.Query().Get("since"))
		switch calls.Add(1) {
		case 1:
			send(events[:3]...)(w, r)
			fmt.Fprint(w, "\n"+events[3][:40])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		case 2:
			fail(w, 503, "ServiceUnavailable", "no endpoints available for service", "x")
		case 3: // an API server that has just started
			fail(w, 403, "Forbidden", "services/proxy is forbidden", "x")
		case 4:
			send(events[1:6]...)(w, r)
		case 5:
			send(events[4:8]...)(w, r)
		default:
			fail(w, 403, "Forbidden", "services/proxy is forbidden", "x")
		}
	}
	code, stdout, stderr := s.run(t, "events", "--follow", "-o", "name")
	assert.Equal(t, 1, code)
	assert.Equal(t, "id-01\nid-02\nid-03\nid-04\nid-05\nid-06\nid-07\nid-08\n", stdout, "each once, in order, none lost")
	again := "2026-11-24T11:01:00Z"
	assert.Equal(t, []string{"", again, again, again, "2026-11-24T11:04:00Z", "2026-11-24T11:06:00Z"}, since[:6])
	assert.Len(t, since, 5+believedAfter)
	assert.Contains(t, stderr, "Connection lost, reconnecting …\n")
	assert.Contains(t, stderr, "rotate-certs:view", "an error that a retry does not fix ends it")
}

func TestEventsOfAWatcherBesideTheCluster(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(send(published()[0])))
	t.Cleanup(server.Close)
	s := newAPIServer(t)
	s.Close()
	code, stdout, stderr := s.run(t, "events", "--url", server.URL)
	assert.Equal(t, 0, code, stderr)
	assert.Contains(t, stdout, "etcd etcd-server expires soon")
	server.Close()
	code, _, stderr = s.run(t, "events", "--url", server.URL)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "hint: check that it runs with --http-address")
}

func TestParseSince(t *testing.T) {
	for text, want := range map[string]time.Time{
		"": {}, "2h": noon.Add(-2 * time.Hour), "7d": noon.Add(-7 * day), "2026-11-24T10:00:00Z": time.Date(2026, 11, 24, 10, 0, 0, 0, time.UTC),
	} {
		got, err := parseSince(text, noon)
		assert.NoError(t, err)
		assert.True(t, want.Equal(got), text)
	}
	_, err := parseSince("yesterday", noon)
	assert.ErrorContains(t, err, `--since "yesterday": want how long ago`)
}
