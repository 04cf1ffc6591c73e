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

// errDenied means that the server does not let this user publish to a subject. It is not
// said in a reply, there is none: it arrives by itself on the connection.
var errDenied = errors.New("permission denied by NATS")

var deniedSubject = regexp.MustCompile(`Publish to "([^"]*)"`)

// link is one role's connection. It is made again for ever, and anew where its credentials
// change.
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
	watched map[*watcher]bool
	up      chan struct{} // closed and replaced at every connect
	last    error         // why it is not connected
}

// watcher waits for a refusal.
type watcher struct {
	matches func(subject string) bool
	cancel  context.CancelCauseFunc
}

// connect begins to connect a role; it does not wait for the server.
func connect(c *Config, role, credentials string, e *embedded) (*link, error) {
	l := &link{role: role, config: c, credentials: credentials, embedded: e, log: c.Log.With("nats", role), watched: map[*watcher]bool{}, up: make(chan struct{})}
	l.last = errors.New("not connected yet")
	if err := l.dial(nats.RetryOnFailedConnect(true)); err != nil {
		return nil, fmt.Errorf("connect to NATS as %s: %w", role, err)
	}
	return l, nil
}

// dial makes a connection in the place of the one that there is, which stays where that fails.
func (l *link) dial(more ...nats.Option) error {
	options := append([]nats.Option{
		nats.Name("rotate-certs-watcher " + l.role),
		nats.CustomInboxPrefix(inboxPrefix + l.role),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(l.config.tuning.reconnect), nats.ReconnectJitter(l.config.tuning.reconnect/2, l.config.tuning.reconnect),
		nats.ReconnectBufSize(-1), // what is not sent stays in the outbox
		nats.ConnectHandler(l.connected),
		nats.ReconnectHandler(l.connected),
		nats.DisconnectErrHandler(l.disconnected),
		nats.ReconnectErrHandler(l.disconnected),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.failed(err) }),
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
		used, options = hash, append(append(options, tls...), user...)
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
	l.replace(nc, js, used)
	return nil
}

// replace puts a connection in the place of the one before, and ends that.
func (l *link) replace(nc *nats.Conn, js jetstream.JetStream, used [sha256.Size]byte) {
	l.mu.Lock()
	old := l.nc
	if l.ended {
		old = nc
	} else {
		l.nc, l.js, l.used = nc, js, used
	}
	l.mu.Unlock()
	if old != nil {
		old.Close()
	}
	if nc.IsConnected() { // its handler may have been called before it was ours
		l.connected(nc)
	}
}

func (l *link) close() {
	l.mu.Lock()
	l.ended = true
	nc := l.nc
	l.mu.Unlock()
	nc.Close()
}

// jetStream is that of the connection that there is now.
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

func (l *link) connected(nc *nats.Conn) {
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

func (l *link) disconnected(nc *nats.Conn, err error) {
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

// failed hears what the server says by itself.
func (l *link) failed(err error) {
	l.log.Warn("NATS refuses", "error", err)
	subject := deniedSubject.FindStringSubmatch(err.Error())
	if subject == nil || !errors.Is(err, nats.ErrPermissionViolation) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.watched {
		if w.matches(subject[1]) {
			w.cancel(fmt.Errorf("%w: user %q may not publish to %q", errDenied, l.role, subject[1]))
		}
	}
}

// deniable is a context that ends with [errDenied] as soon as the server refuses a subject.
// The function that it returns gives the cause in the place of an error.
func (l *link) deniable(ctx context.Context, matches func(string) bool) (context.Context, func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watcher{matches: matches, cancel: cancel}
	l.mu.Lock()
	l.watched[w] = true
	l.mu.Unlock()
	return ctx, func(err error) error {
		l.mu.Lock()
		delete(l.watched, w)
		l.mu.Unlock()
		cause := context.Cause(ctx)
		cancel(nil)
		if err != nil && errors.Is(cause, errDenied) {
			return cause
		}
		return err
	}
}

// state says why the link is not connected, and gives what is closed at the next connect.
func (l *link) state() (<-chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.up, l.last
}
