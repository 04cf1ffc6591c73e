package dashboard

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// memoryListener has connections in memory, so that their number is not bounded by that of file
// descriptors.
type memoryListener struct {
	dialed chan net.Conn
	closed context.Context
	end    context.CancelFunc
}

func newMemoryListener() *memoryListener {
	l := &memoryListener{dialed: make(chan net.Conn)}
	l.closed, l.end = context.WithCancel(context.Background())
	return l
}

func (l *memoryListener) Accept() (net.Conn, error) {
	select {
	case conn := <-l.dialed:
		return conn, nil
	case <-l.closed.Done():
		return nil, net.ErrClosed
	}
}

func (l *memoryListener) Close() error {
	l.end()
	return nil
}

func (l *memoryListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8443} }

// dial connects a client.
func (l *memoryListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.dialed <- far:
		return near, nil
	case <-l.closed.Done():
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// slowReader sends a request, and reads no more than the head of the answer.
func slowReader(t *testing.T, listener *memoryListener, r *http.Request) (conn net.Conn, answer string) {
	t.Helper()
	conn, err := listener.dial(t.Context(), "", "")
	require.NoError(t, err)
	require.NoError(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	require.NoError(t, r.Write(conn))
	response, err := http.ReadResponse(bufio.NewReader(conn), r) //nolint:bodyclose // to close the body would read the rest
	require.NoError(t, err)
	return conn, fmt.Sprint(response.StatusCode, response.Header["Retry-After"])
}

// memoryInUse is the memory of all objects and goroutines.
func memoryInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapInuse + m.StackInuse)
}

// TestTenThousandSlowReaders request the events of a rotation and read none. The number of streams
// and of connections is bounded, and so is their memory. A page that has followed the rotation before
// still gets every event, and others load.
func TestTenThousandSlowReaders(t *testing.T) {
	const readers = 10000
	proceed := make(chan struct{})
	cluster := newRecordingCluster(proceed)
	listener := newMemoryListener()
	options := fixedOptions(oneCluster(&cluster.fakeCluster))
	options.Token = testToken
	ts := startServerOn(t, options, listener)
	ts.dial = listener.dial
	ts.streamTimeout = time.Hour // none gives up its place, however long the test takes
	b := ts.signIn()
	b.client.Timeout = 0
	page := b.save(b.plan("/clusters/prod"))
	b.awaitPage(page, "restarting etcd")
	read := make(chan []string, 1)
	go func() { read <- readStream(t, b, page+"/events", "", 99) }()
	require.Eventually(t, func() bool { return len(ts.streams) == 1 }, 20*time.Second, time.Millisecond)

	events := prodPath + "/rotations/" + strings.TrimPrefix(page, "/clusters/prod/rotations/") + "/events"
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+ts.address+events, nil)
	require.NoError(t, err)
	r.Header.Set("Authorization", "Bearer "+testToken)
	goroutines := runtime.NumGoroutine()
	memory := memoryInUse()
	var open []net.Conn
	answers := map[string]int{}
	for range readers {
		conn, answer := slowReader(t, listener, r)
		open = append(open, conn)
		answers[answer]++
	}
	assert.Equal(t, map[string]int{"200 []": maxStreams - 1, "503 [5]": readers - maxStreams + 1}, answers)
	assert.Len(t, ts.streams, maxStreams)
	more := runtime.NumGoroutine() - goroutines
	grown := (memoryInUse() - memory) >> 20
	t.Logf("%d more goroutines, %d MiB", more, grown)
	assert.LessOrEqual(t, more, 3*maxConnections)
	assert.Less(t, grown, 64)

	assert.Contains(t, b.get(page).body, "restarting etcd")
	assert.Equal(t, http.StatusOK, b.get("/clusters/prod").status)
	close(proceed)
	assert.Equal(t, []string{"1", "2", "3", "4", "5", "end"}, <-read)
	assert.Contains(t, b.awaitPage(page, "succeeded").body, "2027-11-30 03:00 UTC")

	for _, conn := range open {
		require.NoError(t, conn.Close())
	}
	b.client.CloseIdleConnections()
	require.Eventually(t, func() bool { return len(ts.streams) == 0 && runtime.NumGoroutine() <= goroutines }, 20*time.Second, 10*time.Millisecond,
		"%d goroutines more, %d streams", runtime.NumGoroutine()-goroutines, len(ts.streams))
}

// TestSlowReadersOfOneSessionLeavePlacesToOthers: all sessions of a dashboard share its streams.
func TestSlowReadersOfOneSessionLeavePlacesToOthers(t *testing.T) {
	proceed := make(chan struct{})
	users := usersNamed("jane", "joe")
	for name := range users.clusters {
		users.clusters[name] = oneCluster(&newRecordingCluster(proceed).fakeCluster)
	}
	hs := startHosted(t, false, nil, users)
	open := func(v *visitor, rotation string) int {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, hs.url+rotation+"/events", nil)
		require.NoError(t, err)
		response, err := v.client.Do(r)
		require.NoError(t, err)
		t.Cleanup(func() { _ = response.Body.Close() })
		return response.StatusCode
	}
	jane := hs.signIn("jane")
	hers := jane.rotate()
	for range streamsOfSession {
		require.Equal(t, http.StatusOK, open(jane, hers))
	}
	assert.Equal(t, http.StatusServiceUnavailable, open(jane, hers))
	joe := hs.signIn("joe")
	assert.Equal(t, http.StatusOK, open(joe, joe.rotate()))
	assert.Greater(t, maxStreams, mostOfOneUser*streamsOfSession, "nor do all sessions of one user take every place")
	close(proceed)
	require.Eventually(t, func() bool { return len(hs.streams) == 0 }, 20*time.Second, time.Millisecond)
	assert.Equal(t, http.StatusOK, open(jane, hers))
}
