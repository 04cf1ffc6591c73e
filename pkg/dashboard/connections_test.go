package dashboard

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestSurplusConnectionIsTheLeastUsed: one without a request is closed before one that has a
// request, the oldest first, and a stream of events never.
func TestSurplusConnectionIsTheLeastUsed(t *testing.T) {
	open := newOpenConnections(4)
	far := map[string]net.Conn{}
	near := map[string]net.Conn{}
	add := func(name string, states ...http.ConnState) {
		near[name], far[name] = net.Pipe()
		require.NoError(t, far[name].SetReadDeadline(time.Now().Add(20*time.Second)))
		for _, state := range append([]http.ConnState{http.StateNew}, states...) {
			open.noteState(near[name], state)
		}
	}
	assertClosed := func(name string) {
		t.Helper()
		_, err := far[name].Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, name)
		open.noteState(near[name], http.StateActive) // its request fails
		open.noteState(near[name], http.StateClosed)
		assert.Len(t, open.byConn, 4)
	}
	add("stream", http.StateActive)
	release := keepConnection(open.addToContext(t.Context(), near["stream"]))
	add("first request", http.StateActive)
	add("second request", http.StateActive)
	add("idle", http.StateActive, http.StateIdle)
	add("third request", http.StateActive)
	assertClosed("idle")
	add("fourth request", http.StateActive)
	assertClosed("first request")
	add("silent")
	assertClosed("second request")
	add("fifth request", http.StateActive)
	assertClosed("silent")
	release()
	add("sixth request", http.StateActive)
	assertClosed("stream")
	for name := range near {
		open.noteState(near[name], http.StateClosed)
	}
	assert.Empty(t, open.byConn)
}

// TestSurplusConnectionWithTLSIsClosedAtOnce: its other end reads nothing.
func TestSurplusConnectionWithTLSIsClosedAtOnce(t *testing.T) {
	open := newOpenConnections(1)
	near, far := net.Pipe()
	require.NoError(t, far.SetReadDeadline(time.Now().Add(20*time.Second)))
	secured := tls.Server(near, &tls.Config{MinVersion: tls.VersionTLS12})
	open.noteState(secured, http.StateNew)
	other, _ := net.Pipe()
	open.noteState(other, http.StateNew)
	_, err := far.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}
