package balancer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// greeter is a backend that sends its name to each client, and then sends
// back what it gets until the client has no more.
func greeter(t *testing.T, name string) (address string, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, name)
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String(), func() { listener.Close() }
}

func start(t *testing.T, backends ...*Backend) (address string, b *Balancer) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b = &Balancer{Backends: backends, Log: log.New(io.Discard, "", 0)}
	go func() { _ = b.Serve(listener) }()
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String(), b
}

// talk connects, says something, and returns everything that comes back.
func talk(t *testing.T, address, text string) (string, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(conn, text); err != nil {
		return "", err
	}
	_ = conn.(*net.TCPConn).CloseWrite()
	data, err := io.ReadAll(conn)
	return string(data), err
}

func TestConnectionsTakeTurns(t *testing.T) {
	a, _ := greeter(t, "a")
	b, _ := greeter(t, "b")
	first, second := &Backend{Name: "a", Address: a}, &Backend{Name: "b", Address: b}
	first.up.Store(true)
	second.up.Store(true)
	address, _ := start(t, first, second)
	counts := map[string]int{}
	for range 10 {
		got, err := talk(t, address, "!")
		if err != nil {
			t.Fatal(err)
		}
		counts[got]++
	}
	if counts["a!"] != 5 || counts["b!"] != 5 {
		t.Errorf("answers %v, want a! and b! five times each", counts)
	}
}

func TestRefusedConnectionGoesToAnother(t *testing.T) {
	a, stop := greeter(t, "a")
	b, _ := greeter(t, "b")
	first, second := &Backend{Name: "a", Address: a}, &Backend{Name: "b", Address: b}
	first.up.Store(true) // as the last check found it
	second.up.Store(true)
	stop()
	address, _ := start(t, first, second)
	for range 4 {
		if got, err := talk(t, address, "!"); got != "b!" || err != nil {
			t.Fatalf("answer %q, %v; want b!, nil", got, err)
		}
	}
	if first.up.Load() {
		t.Error("a backend that refused is still taken for up")
	}
}

func TestBackendThatIsDownIsTheLastResort(t *testing.T) {
	a, _ := greeter(t, "a")
	b, stop := greeter(t, "b")
	down, up := &Backend{Name: "a", Address: a}, &Backend{Name: "b", Address: b}
	up.up.Store(true)
	address, _ := start(t, down, up)
	for range 4 {
		if got, _ := talk(t, address, ""); got != "b" {
			t.Fatalf("answer %q, want that of the backend that is up", got)
		}
	}
	stop()
	if got, _ := talk(t, address, ""); got != "a" {
		t.Errorf("answer %q, want that of the one that still accepts", got)
	}
}

func TestNoBackendClosesTheConnection(t *testing.T) {
	a, stop := greeter(t, "a")
	stop()
	address, _ := start(t, &Backend{Name: "a", Address: a})
	if got, err := talk(t, address, ""); got != "" || (err != nil && !errors.Is(err, syscall.ECONNRESET)) {
		t.Errorf("answer %q, %v; want none", got, err)
	}
}

func TestOpenConnectionStaysWithItsBackend(t *testing.T) {
	a, stop := greeter(t, "a")
	backend := &Backend{Name: "a", Address: a}
	backend.up.Store(true)
	address, b := start(t, backend)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buffer := make([]byte, 1)
	if _, err := io.ReadFull(conn, buffer); err != nil {
		t.Fatal(err)
	}
	stop()
	b.set(backend, false, "test")
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(conn, buffer); err != nil || buffer[0] != 'x' {
		t.Errorf("read %q, %v on a connection from before", buffer, err)
	}
}

func TestCheckFollowsReadyz(t *testing.T) {
	var code atomic.Int64
	code.Store(http.StatusOK)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %q", r.URL.Path)
		}
		w.WriteHeader(int(code.Load()))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	backend := &Backend{Name: "a", Address: server.Listener.Addr().String()}
	var text bytes.Buffer
	b := &Balancer{Backends: []*Backend{backend}, Log: log.New(&text, "", 0)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { b.Check(ctx); close(done) }()
	for _, step := range []struct {
		code int
		up   bool
	}{{200, true}, {500, false}, {401, true}, {403, false}, {200, true}} {
		code.Store(int64(step.code))
		deadline := time.Now().Add(5 * time.Second)
		for backend.up.Load() != step.up && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if backend.up.Load() != step.up {
			t.Errorf("after status %d the backend is up: %v", step.code, !step.up)
		}
	}
	server.CloseClientConnections()
	server.Listener.Close()
	deadline := time.Now().Add(5 * time.Second)
	for backend.up.Load() && time.Now().Before(deadline) {
		time.Sleep(5 * time.Millisecond)
	}
	if backend.up.Load() {
		t.Error("a stopped server is reported as up")
	}
	cancel()
	<-done
	if got := bytes.Count(text.Bytes(), []byte("\n")); got != 6 {
		t.Errorf("%d lines, want one for each change:\n%s", got, text.String())
	}
}
