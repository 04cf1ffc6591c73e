// Package balancer is a TCP load balancer as operators put before API servers:
// it forwards connections without inspecting them, asks every backend for
// its health, and connects a client to another backend when one refuses. It
// does what haproxy does with mode tcp, balance roundrobin, option redispatch,
// option httpchk GET /readyz and check-ssl verify none: an open connection
// stays with its backend until one side closes it.
package balancer

import (
	"context"
	"errors"
	"io"
	"log"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	dialTimeout   = 2 * time.Second
	checkInterval = 100 * time.Millisecond
	// An API server on a busy machine may be slow without being unavailable. One
	// that does not run refuses connections, which is noticed at once.
	checkTimeout = 3 * time.Second
)

// Backend is a server that connections are forwarded to.
type Backend struct {
	Name    string
	Address string
	up      atomic.Bool
}

// Balancer forwards connections to backends.
type Balancer struct {
	Backends []*Backend
	Log      *log.Logger
	next     atomic.Uint64
}

// Serve accepts connections until the listener is closed.
func (b *Balancer) Serve(listener net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		client, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			b.Log.Printf("accept: %v", err)
			time.Sleep(10 * time.Millisecond) // out of descriptors, say
			continue
		}
		open.Go(func() { b.forward(client.(*net.TCPConn)) })
	}
}

// Check asks all backends for their health until ctx ends.
func (b *Balancer) Check(ctx context.Context) {
	var running sync.WaitGroup
	for _, backend := range b.Backends {
		running.Go(func() { b.watch(ctx, backend) })
	}
	running.Wait()
}

// candidates lists the backends in the order to try them: those that are up,
// beginning with the next one in turn, then the others. A check may be wrong,
// and a client of which nothing was tried would be refused for nothing.
func (b *Balancer) candidates() []*Backend {
	n := uint64(len(b.Backends))
	if n == 0 {
		return nil
	}
	start := b.next.Add(1)
	var up, down []*Backend
	for i := range n {
		backend := b.Backends[(start+i)%n]
		if backend.up.Load() {
			up = append(up, backend)
		} else {
			down = append(down, backend)
		}
	}
	return append(up, down...)
}

// connect opens a connection to the first backend that accepts one.
func (b *Balancer) connect() *net.TCPConn {
	for _, backend := range b.candidates() {
		conn, err := net.DialTimeout("tcp", backend.Address, dialTimeout)
		if err == nil {
			return conn.(*net.TCPConn)
		}
		b.set(backend, false, err.Error())
	}
	return nil
}

func (b *Balancer) forward(client *net.TCPConn) {
	defer client.Close()
	server := b.connect()
	if server == nil {
		b.Log.Printf("no backend for %s", client.RemoteAddr())
		return
	}
	defer server.Close()
	var running sync.WaitGroup
	running.Go(func() { pipe(server, client) })
	pipe(client, server)
	running.Wait()
}

// pipe copies one direction of a connection and passes on its end: an orderly
// end as such, and a broken connection as a broken one. Which side broke is
// not logged: clients do it all the time, by closing before they have read
// everything.
func pipe(to, from *net.TCPConn) {
	if _, err := io.Copy(to, from); err != nil {
		_ = to.SetLinger(0)
		_ = from.SetLinger(0)
		_ = to.Close()
		_ = from.Close()
		return
	}
	_ = to.CloseWrite()
}

func (b *Balancer) set(backend *Backend, up bool, reason string) {
	if backend.up.Swap(up) != up {
		state := "down"
		if up {
			state = "up"
		}
		b.Log.Printf("%s is %s: %s", backend.Name, state, reason)
	}
}
