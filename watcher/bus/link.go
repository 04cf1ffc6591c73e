package bus

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// errDenied means that this user may not publish to a subject. The server sends no reply then:
// the error arrives asynchronously on the connection.
var errDenied = errors.New("permission denied by NATS")

var deniedSubject = regexp.MustCompile(`Publish to "([^"]*)"`)

// link is the connection of one role. It reconnects without limit, and again when its
// credentials change.
type link struct {
	role        string
	config      *Config
	credentials string    // file; empty: none
	embedded    *embedded // nil: an external server
	log         *slog.Logger

	mu      sync.Mutex
	nc      *nats.Conn
	js      jetstream.JetStream
	used    [sha256.Size]byte // of the credentials that nc has
	ended   bool
	denials map[*denial]bool
	up      chan struct{} // closed and replaced at every connect
	last    error         // why it is not connected
}

// denial waits for a permission error.
type denial struct {
	matches func(subject string) bool
	cancel  context.CancelCauseFunc
}

// newLink begins to connect a role; it does not wait for the server.
func newLink(c *Config, role, credentials string, e *embedded) (*link, error) {
	l := &link{role: role, config: c, credentials: credentials, embedded: e, log: c.Log.With("nats", role), denials: map[*denial]bool{}, up: make(chan struct{})}
	l.last = errors.New("not connected yet")
	if err := l.dialServer(nats.RetryOnFailedConnect(true)); err != nil {
		return nil, fmt.Errorf("connect to NATS as %s: %w", role, err)
	}
	return l, nil
}

// dialServer makes a new connection in place of the current one, which is kept if that fails.
func (l *link) dialServer(more ...nats.Option) error {
	options := append([]nats.Option{
		nats.Name("rotate-certs-watcher " + l.role),
		nats.CustomInboxPrefix(inboxPrefix + l.role),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(l.config.tuning.reconnect), nats.ReconnectJitter(l.config.tuning.reconnect/2, l.config.tuning.reconnect),
		nats.ReconnectBufSize(-1), // unsent events stay in the outbox
		nats.ConnectHandler(l.onConnected),
		nats.ReconnectHandler(l.onConnected),
		nats.DisconnectErrHandler(l.onDisconnected),
		nats.ReconnectErrHandler(l.onDisconnected),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.onError(err) }),
	}, more...)
	var used [sha256.Size]byte
	if l.embedded != nil {
		options = append(options, nats.InProcessServer(l.embedded))
		if l.embedded.password != "" {
			options = append(options, nats.UserInfo(internalUser, l.embedded.password))
		}
	} else {
		user, hash, err := userOf(l.credentials)
		if err != nil {
			return err
		}
		tls, err := tlsOf(l.config.TLS)
		if err != nil {
			return err
		}
		used = hash
		options = append(append(options, tls...), user...)
	}
	nc, err := nats.Connect(strings.Join(l.config.URLs, ","), options...)
	if err != nil {
		return err
	}
	js, err := jetStream(nc, l.config)
	if err != nil {
		nc.Close()
		return err
	}
	l.replaceConnection(nc, js, used)
	return nil
}

// replaceConnection replaces the connection and closes the previous one.
func (l *link) replaceConnection(nc *nats.Conn, js jetstream.JetStream, used [sha256.Size]byte) {
	l.mu.Lock()
	old := l.nc
	if l.ended {
		old = nc
	} else {
		l.nc = nc
		l.js = js
		l.used = used
	}
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
	if nc.IsConnected() { // onConnected may have been called before
		l.onConnected(nc)
	}
}

func (l *link) closeLink() {
	l.mu.Lock()
	l.ended = true
	nc := l.nc
	l.mu.Unlock()
	nc.Close()
}

// jetStream is the JetStream context of the current connection.
func (l *link) jetStream() jetstream.JetStream {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.js
}

func jetStream(nc *nats.Conn, c *Config) (jetstream.JetStream, error) {
	timeout := jetstream.WithDefaultTimeout(c.tuning.request)
	if c.Domain == "" {
		return jetstream.New(nc, timeout)
	}
	return jetstream.NewWithDomain(nc, c.Domain, timeout)
}

func (l *link) onConnected(nc *nats.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if nc != l.nc || l.last == nil {
		return
	}
	l.last = nil
	close(l.up)
	l.up = make(chan struct{})
	l.log.Info("connected to NATS")
}

func (l *link) onDisconnected(nc *nats.Conn, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if nc != l.nc || l.ended {
		return
	}
	if err == nil {
		err = errors.New("connection closed")
	}
	if l.last == nil || l.last.Error() != err.Error() {
		l.log.Warn("not connected to NATS, trying again", "error", err)
	}
	l.last = err
}

// onError handles asynchronous errors of the server.
func (l *link) onError(err error) {
	l.log.Warn("NATS reports an error", "error", err)
	subject := deniedSubject.FindStringSubmatch(err.Error())
	if subject == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.denials {
		if w.matches(subject[1]) {
			w.cancel(fmt.Errorf("%w: user %q may not publish to %q", errDenied, l.role, subject[1]))
		}
	}
}

// withDenial returns a context that ends with [errDenied] once the server refuses a subject,
// and a function that replaces an error by that cause.
func (l *link) withDenial(ctx context.Context, matches func(string) bool) (context.Context, func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &denial{matches: matches, cancel: cancel}
	l.mu.Lock()
	l.denials[w] = true
	l.mu.Unlock()
	return ctx, func(err error) error {
		l.mu.Lock()
		delete(l.denials, w)
		l.mu.Unlock()
		cause := context.Cause(ctx)
		cancel(nil)
		if err != nil && errors.Is(cause, errDenied) {
			return cause
		}
		return err
	}
}

// connectionState returns why the link is not connected (nil: it is), and a channel that is
// closed at the next connect.
func (l *link) connectionState() (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.last
}
