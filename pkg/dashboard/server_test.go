package dashboard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// testServer is a server that listens, and its address.
type testServer struct {
	*Server
	t       *testing.T
	address string // 127.0.0.1:port
	open    string
	stop    context.CancelFunc
	ended   chan error
	dial    func(ctx context.Context, network, address string) (net.Conn, error) // nil: by TCP
}

func startServer(t *testing.T, options Options) *testServer {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return startServerOn(t, options, listener)
}

func startServerOn(t *testing.T, options Options, listener net.Listener) *testServer {
	t.Helper()
	s, err := NewServer(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ts := &testServer{Server: s, t: t, address: listener.Addr().String(), open: s.OpenAddress(listener.Addr()), stop: cancel, ended: make(chan error, 1)}
	go func() { ts.ended <- s.Serve(ctx, listener) }()
	t.Cleanup(ts.stop)
	return ts
}

// browser is a client with its own cookies that follows no redirect.
type browser struct {
	t      *testing.T
	server *testServer
	client *http.Client
}

// newBrowser has not opened the address with the token.
func (ts *testServer) newBrowser() *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(ts.t, err)
	transport := &http.Transport{DialContext: ts.dial}
	ts.t.Cleanup(transport.CloseIdleConnections)
	return &browser{t: ts.t, server: ts, client: &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

// signIn opens the address with the token.
func (ts *testServer) signIn() *browser {
	ts.t.Helper()
	b := ts.newBrowser()
	a := b.get(strings.TrimPrefix(ts.open, "http://"+ts.address))
	require.Equal(ts.t, http.StatusSeeOther, a.status, a.body)
	return b
}

// full is a path with the prefix of the pages. Tests are written without it.
func (ts *testServer) full(path string) string {
	if strings.HasPrefix(path, "/open?") {
		return path
	}
	return ts.session.prefix + path
}

// answer is a response, read to its end, without the prefix of the pages.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) send(method, path string, body io.Reader, change func(*http.Request)) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.server.address+b.server.full(path), body)
	require.NoError(b.t, err)
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if change != nil {
		change(r)
	}
	response, err := b.client.Do(r)
	require.NoError(b.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(b.t, err)
	prefix := b.server.session.prefix
	if location := response.Header.Get("Location"); location != "" {
		response.Header.Set("Location", strings.TrimPrefix(location, prefix))
	}
	return answer{status: response.StatusCode, header: response.Header, body: strings.ReplaceAll(string(text), prefix, "")}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	return b.send(http.MethodGet, path, nil, nil)
}

func TestServeRefusesAnAddressThatOthersReach(t *testing.T) {
	s, err := NewServer(Options{Clusters: oneContext{}})
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	require.NoError(t, err)
	require.ErrorContains(t, s.Serve(t.Context(), listener), "other machines could reach this address")
}

func TestServeEndsWithItsContext(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	assert.Equal(t, http.StatusOK, ts.signIn().get("/").status)
	ts.stop()
	require.NoError(t, <-ts.ended)
}

func TestNewServerNeedsAContext(t *testing.T) {
	_, err := NewServer(Options{})
	require.ErrorContains(t, err, "the kubeconfig has no context")
}

// post sends a form as a page of the server does.
func (b *browser) post(path, form string) answer {
	b.t.Helper()
	return b.send(http.MethodPost, path, strings.NewReader(form), nil)
}

// awaitPage reads a page until it contains a text.
func (b *browser) awaitPage(path, text string) answer {
	b.t.Helper()
	var a answer
	require.Eventually(b.t, func() bool {
		a = b.get(path)
		return strings.Contains(a.body, text)
	}, 20*time.Second, 5*time.Millisecond, "%s never says %q", path, text)
	return a
}

// plan makes a plan for all services and returns its address.
func (b *browser) plan(cluster string) string {
	b.t.Helper()
	a := b.post(cluster+"/plans", "scope=all&restart=always")
	require.Equal(b.t, http.StatusSeeOther, a.status, a.body)
	path := a.header.Get("Location")
	b.awaitPage(path, "Save: start this rotation")
	return path
}

// save starts a plan and returns the address of its rotation.
func (b *browser) save(plan string) string {
	b.t.Helper()
	a := b.post(plan, "")
	require.Equal(b.t, http.StatusSeeOther, a.status, a.body)
	return a.header.Get("Location")
}

// clock is a clock that a test moves.
type clock struct{ seconds atomic.Int64 }

func (c *clock) now() time.Time { return testNow.Add(time.Duration(c.seconds.Load()) * time.Second) }

func fixedOptions(clusters Clusters) Options {
	return Options{Clusters: clusters, Now: func() time.Time { return testNow }, Version: "v0.9.0"}
}

func TestServeInterruptsAndWaitsForTheRotation(t *testing.T) {
	interrupted := make(chan error, 1)
	finish := make(chan struct{})
	cluster := &fakeCluster{plan: func(_ context.Context, c Choice) (Plan, error) {
		return samplePlan(c, func(ctx context.Context, _ func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
			<-ctx.Done()
			interrupted <- context.Cause(ctx)
			<-finish
			return &v1alpha1.RotationReport{Result: v1alpha1.Failed}, context.Cause(ctx)
		}), nil
	}}
	ts := startServer(t, fixedOptions(oneCluster(cluster)))
	b := ts.signIn()
	plan := b.plan("/clusters/prod")
	second := b.plan("/clusters/prod")
	page := b.save(plan)
	assert.Equal(t, []string{"prod"}, ts.Running())
	ts.stop()
	require.ErrorIs(t, <-interrupted, fleet.ErrInterrupted)
	assert.Contains(t, b.get(page).body, "stopping", "its page can be read until the end")
	b.post(second, "")
	assert.Equal(t, []string{"prod"}, ts.Running(), "none begins anymore")
	select {
	case err := <-ts.ended:
		t.Fatalf("Serve returned before the rotation had ended: %v", err)
	default:
	}
	close(finish)
	require.NoError(t, <-ts.ended)
	assert.Empty(t, ts.Running())
}

func TestMethodsAndPaths(t *testing.T) {
	calls := atomic.Int64{}
	count := func() { calls.Add(1) }
	cluster := &fakeCluster{
		scan:       func(context.Context) (v1alpha1.CertificateList, error) { count(); return sampleList(1), nil },
		plan:       func(_ context.Context, c Choice) (Plan, error) { count(); return samplePlan(c, runOf(nil)), nil },
		mark:       func(context.Context, Mark) error { count(); return nil },
		deleteMark: func(context.Context, string) error { count(); return nil },
	}
	ts := startServer(t, fixedOptions(oneCluster(cluster)))
	b := ts.signIn()
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{http.MethodHead, "/", 200}, {http.MethodHead, "/clusters/prod", 200}, {http.MethodGet, "/clusters/prod/rotate", 200},
		{http.MethodGet, "/clusters/prod/scan", 405}, {http.MethodGet, "/clusters/prod/journals", 405}, {http.MethodGet, "/clusters/prod/plans", 405},
		{http.MethodGet, "/clusters/prod/marks", 405}, {http.MethodGet, "/clusters/prod/marks/x/delete", 405}, {http.MethodGet, "/clusters/prod/rotations/x/stop", 405},
		{http.MethodHead, "/clusters/prod/scan", 405}, {http.MethodPut, "/clusters/prod", 405}, {http.MethodDelete, "/clusters/prod/plans/x", 405}, {"PROPFIND", "/", 405},
		{http.MethodPost, "/", 405}, {http.MethodGet, "/clusters/other", 404}, {http.MethodGet, "/clusters/", 404}, {http.MethodGet, "/clusters/prod/plans/x", 404},
		{http.MethodPost, "/clusters/prod/plans/x", 404}, {http.MethodPost, "/clusters/other/scan", 404}, {http.MethodGet, "/clusters/prod/rotations/x", 404},
		{http.MethodGet, "/clusters/prod/rotations/x/events", 404}, {http.MethodGet, "/row?context=other", 404}, {http.MethodGet, "/static/", 404},
		{http.MethodGet, "/static/..%2f..%2fserver.go", 404}, {http.MethodGet, "/static/layout.html", 404}, {http.MethodGet, "/clusters/..%2f..%2fetc", 404},
	} {
		a := b.send(test.method, test.path, nil, nil)
		assert.Equal(t, test.want, a.status, "%s %s", test.method, test.path)
		if test.want != http.StatusOK {
			assert.NotContains(t, a.body, "data-again", "an error does not ask again")
			assert.NotContains(t, a.body, "http-equiv", "nor does it reload")
		}
		if test.method != http.MethodHead {
			assert.Contains(t, a.body, "</html>", "%s %s is answered by a page", test.method, test.path)
		}
	}
	assert.Zero(t, calls.Load(), "nothing was changed")
}

func TestLargeBodiesAreRefused(t *testing.T) {
	ts := startServer(t, fixedOptions(oneCluster(&fakeCluster{})))
	b := ts.signIn()
	for _, path := range []string{"/clusters/prod/plans", "/clusters/prod/marks"} {
		assert.Equal(t, http.StatusRequestEntityTooLarge, b.post(path, "scope=all&node="+strings.Repeat("a", maxBody)).status, path)
	}
}

func TestTextFromClustersIsEscaped(t *testing.T) {
	const evil = "<script>alert(1)</script>\x1b[31m\u202etxt"
	state := sampleState(1)
	state.Certificates.Items[0].Node = evil
	state.Certificates.Items[0].Reason = evil
	state.Certificates.Authorities[0].Name = evil
	state.Certificates.Findings[0].Message = evil
	state.Certificates.NotInspected[0].Reason = "javascript:alert(1)" + evil
	state.Watcher.Due[0].Message = evil
	state.Marks[0].Spec.Reason = evil
	cluster := &fakeCluster{
		state: func(context.Context) (State, error) { return state, nil },
		records: func(context.Context, string) (v1alpha1.RotationHistory, error) {
			return v1alpha1.RotationHistory{PastRotation: samplePast(), Records: []v1alpha1.RotationRecord{{Node: evil, Kind: evil, Message: evil}}}, nil
		},
		plan: func(_ context.Context, c Choice) (Plan, error) {
			p := samplePlan(c, func(_ context.Context, progress func(fleet.Progress)) (*v1alpha1.RotationReport, error) {
				progress(fleet.Progress{Node: evil, Text: evil, Done: true})
				return nil, errors.New(evil)
			})
			p.Notes = []string{evil}
			p.Command = evil
			return p, nil
		},
	}
	clusters := oneCluster(cluster)
	clusters.contexts[0].Server = "javascript:" + evil
	ts := startServer(t, fixedOptions(clusters))
	b := ts.signIn()
	b.post("/clusters/prod/history/7f3c2a", "")
	plan := b.plan("/clusters/prod")
	pages := []answer{b.get("/?load=all"), b.get("/clusters/prod"), b.get("/clusters/prod/rotate"), b.awaitPage("/clusters/prod/history/7f3c2a", "Records"), b.get(plan)}
	rotation := b.save(plan)
	pages = append(pages, b.awaitPage(rotation, "ended without a report"), b.get(rotation+"/events"))
	for i, page := range pages {
		assert.Contains(t, page.body, "alert(1)", "page %d shows it", i)
		assert.NotContains(t, page.body, "<script>alert", "page %d", i)
		assert.NotContains(t, page.body, "\x1b", "page %d", i)
		assert.NotContains(t, page.body, "\u202e", "page %d", i)
		assert.NotContains(t, page.body, `="javascript:`, "page %d", i)
	}
}
