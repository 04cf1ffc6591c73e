package dashboard

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testServer is a server that listens, and its address.
type testServer struct {
	*Server
	t       *testing.T
	address string // 127.0.0.1:port
	open    string
	stop    context.CancelFunc
	ended   chan error
}

func startServer(t *testing.T, options Options) *testServer {
	t.Helper()
	s, err := NewServer(options)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
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
	transport := &http.Transport{}
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

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func (b *browser) send(method, path string, body io.Reader, change func(*http.Request)) answer {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.server.address+path, body)
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
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
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
