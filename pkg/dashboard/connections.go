package dashboard

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"sync"
)

// maxConnections bounds the memory that connections take, some 25 KiB each.
const maxConnections = 512

// openConnections bounds the connections of an HTTP server. One more closes the connection that has
// been without a request for the longest time. Where every other has a request, it closes the one
// whose request began first. Streams of events, and requests that wait for a plan, keep theirs: both
// have a bound of their own.
type openConnections struct {
	most int

	mu      sync.Mutex
	changes int // counts changes of states
	byConn  map[net.Conn]*connectionState
}

// connectionState is the use of a connection.
type connectionState struct {
	changed int // number of its last change
	busy    bool
	kept    int // by requests that wait for long
}

func newOpenConnections(most int) *openConnections {
	return &openConnections{most: most, byConn: map[net.Conn]*connectionState{}}
}

// noteState is called by the server when the state of a connection changes.
func (o *openConnections) noteState(conn net.Conn, state http.ConnState) {
	if surplus := o.changeState(conn, state); surplus != nil {
		if secured, is := surplus.(*tls.Conn); is {
			surplus = secured.NetConn() // closing TLS would wait for the other end
		}
		_ = surplus.Close() // its end may be closed already
	}
}

// changeState returns the connection that has to be closed; nil: none.
func (o *openConnections) changeState(conn net.Conn, state http.ConnState) net.Conn {
	o.mu.Lock()
	defer o.mu.Unlock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(o.byConn, conn)
		return nil
	}
	known := o.byConn[conn]
	switch {
	case known == nil && state != http.StateNew:
		return nil // it is being closed
	case known == nil:
		known = &connectionState{}
		o.byConn[conn] = known
	}
	o.changes++
	known.changed = o.changes
	known.busy = state == http.StateActive
	if len(o.byConn) <= o.most {
		return nil
	}
	return o.removeSurplus(conn)
}

// removeSurplus removes the connection that makes room for a new one.
func (o *openConnections) removeSurplus(added net.Conn) net.Conn {
	var surplus net.Conn
	for conn, state := range o.byConn {
		if conn == added || state.kept > 0 {
			continue
		}
		if surplus == nil || state.goesBefore(o.byConn[surplus]) {
			surplus = conn
		}
	}
	delete(o.byConn, surplus)
	return surplus
}

// goesBefore reports whether a connection is closed rather than another one.
func (c *connectionState) goesBefore(other *connectionState) bool {
	if c.busy != other.busy {
		return !c.busy
	}
	return c.changed < other.changed
}

// connectionKey finds the connection in the context of a request.
type connectionKey struct{}

// addToContext is called by the server for each new connection.
func (o *openConnections) addToContext(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, func(more int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		if known := o.byConn[conn]; known != nil {
			known.kept += more
		}
	})
}

// keepConnection keeps the connection of a request open until release is called.
func keepConnection(ctx context.Context) (release func()) {
	addKept, known := ctx.Value(connectionKey{}).(func(int))
	if !known { // without a server, as in a test
		return func() {}
	}
	addKept(1)
	return func() { addKept(-1) }
}
