package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
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

// link is one role's connection. It is made again for ever.
type link struct {
	role string
	nc   *nats.Conn
	js   jetstream.JetStream
	log  *slog.Logger

	mu      sync.Mutex
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
func connect(c *Config, role, credentials string, inProcess nats.InProcessConnProvider, password string) (*link, error) {
	l := &link{role: role, log: c.Log.With("nats", role), watched: map[*watcher]bool{}, up: make(chan struct{})}
	l.last = errors.New("not connected yet")
	options := []nats.Option{
		nats.Name("rotate-certs-watcher " + role),
		nats.CustomInboxPrefix(inboxPrefix + role),
		nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(c.tuning.reconnect), nats.ReconnectJitter(c.tuning.reconnect/2, c.tuning.reconnect),
		nats.ReconnectBufSize(-1), // what is not sent stays in the outbox
		nats.ConnectHandler(func(*nats.Conn) { l.connected() }),
		nats.ReconnectHandler(func(*nats.Conn) { l.connected() }),
		nats.DisconnectErrHandler(func(nc *nats.Conn, err error) {
			if !nc.IsClosed() { // by us
				l.disconnected(err)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.disconnected(err) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.failed(err) }),
	}
	url := strings.Join(c.URLs, ",")
	if inProcess != nil {
		options = append(options, nats.InProcessServer(inProcess))
		if password != "" {
			options = append(options, nats.UserInfo(internalUser, password))
		}
	} else {
		more, err := external(c, credentials)
		if err != nil {
			return nil, err
		}
		options = append(options, more...)
	}
	nc, err := nats.Connect(url, options...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS as %s: %w", role, err)
	}
	l.nc = nc
	if l.js, err = jetStream(nc, c); err != nil {
		nc.Close()
		return nil, fmt.Errorf("connect to NATS as %s: %w", role, err)
	}
	if nc.IsConnected() {
		l.connected()
	}
	return l, nil
}

func jetStream(nc *nats.Conn, c *Config) (jetstream.JetStream, error) {
	timeout := jetstream.WithDefaultTimeout(c.tuning.request)
	if c.Domain == "" {
		return jetstream.New(nc, timeout)
	}
	return jetstream.NewWithDomain(nc, c.Domain, timeout)
}

// external are the options for a server elsewhere. Files are read now, so that a mistake
// is found at once, and again at every connect, so that what rotates is picked up.
func external(c *Config, credentials string) ([]nats.Option, error) {
	var options []nats.Option
	readCert := func() (tls.Certificate, error) { return tls.LoadX509KeyPair(c.TLS.Cert, c.TLS.Key) }
	readCA := func() (*x509.CertPool, error) { return readPool(c.TLS.CA) }
	var certCB nats.TLSCertHandler
	var caCB nats.RootCAsHandler
	if c.TLS.Cert != "" {
		if _, err := readCert(); err != nil {
			return nil, fmt.Errorf("read NATS client certificate %q: %w", c.TLS.Cert, err)
		}
		certCB = readCert
	}
	if c.TLS.CA != "" {
		if _, err := readCA(); err != nil {
			return nil, err
		}
		caCB = readCA
	}
	if certCB != nil || caCB != nil {
		options = append(options, nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12}), nats.ClientTLSConfig(certCB, caCB))
	}
	if credentials == "" {
		return options, nil
	}
	raw, err := os.ReadFile(credentials)
	if err != nil {
		return nil, fmt.Errorf("read NATS credentials: %w", err)
	}
	if strings.Contains(string(raw), "BEGIN NATS USER JWT") {
		return append(options, nats.UserCredentials(credentials)), nil
	}
	seed, err := nats.NkeyOptionFromSeed(credentials)
	if err != nil {
		return nil, fmt.Errorf("read NATS credentials %q: neither a .creds file nor an NKey seed: %w", credentials, err)
	}
	return append(options, seed), nil
}

func readPool(path string) (*x509.CertPool, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read CA of NATS: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("read CA of NATS: %q has no certificate in PEM", path)
	}
	return pool, nil
}

func (l *link) connected() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return
	}
	l.last = nil
	close(l.up)
	l.up = make(chan struct{})
	l.log.Info("connected to NATS")
}

func (l *link) disconnected(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
