package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Config says which NATS to use. With URLs it is an external one, without them a server in
// this process, whose store is in StoreDir.
type Config struct {
	Cluster string // names subjects and streams; required

	// StoreDir is the embedded server's; nobody else may use it at the same time.
	StoreDir string
	// Listen opens the embedded server to others. Nil: only this process reaches it.
	Listen *Listen

	URLs []string
	// Replicas is how many of the external servers keep each stream; 0: one, or what there is.
	Replicas int
	// Domain is the JetStream domain of the external streams; empty: the servers' own.
	Domain string
	// TLS is for the external server. Files are read again at every connect.
	TLS TLS
	// Credentials and RotatorCredentials are files: a .creds file or an NKey seed, read again
	// when they change. The first
	// user publishes what is seen and asks for rotations, the second hears these and tells
	// how they go. Without a second the first needs both permissions.
	Credentials, RotatorCredentials string

	// GivenUp is called for every request and mark that is given up. An event that could not be
	// read is empty. Nil: it is only counted and logged.
	GivenUp func(ctx context.Context, e event.Event, why error)

	// Now is the clock that dates events; nil: the real one.
	Now func() time.Time
	Log *slog.Logger // nil: nothing is logged

	tuning tuning
}

// TLS names files in PEM. CA alone authenticates the server, the other two this client.
type TLS struct {
	CA, Cert, Key string
}

// Listen is the embedded server's TLS listener.
type Listen struct {
	Address string // "host:port"
	// TLS has the listener's certificate, key and CA, read again for every handshake. With a CA,
	// clients must show a certificate by it, besides being a user.
	TLS TLS
	// Users is a file with one user a line: a role (reporter, rotator, marker or viewer), and
	// either a public NKey or a name and a password (bcrypt or plain). "#" begins a comment.
	// Read again when it changes.
	Users string
}

// tuning is what only tests change; zero values mean the defaults.
type tuning struct {
	ackWait    time.Duration
	retry      []time.Duration // delay before the 2nd, 3rd … delivery; the last one repeats
	hold       time.Duration   // first pause of a handler that asked to be retried later
	outbox     int             // events that wait at the most
	request    time.Duration   // one request to NATS
	reconnect  time.Duration
	watch      time.Duration // how often the embedded store, and files of users and credentials, are looked at
	followers  int
	keepAlive  time.Duration
	marksBurst int
	marksEvery time.Duration
}

var domainName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func (c *Config) complete() error {
	switch {
	case c.Cluster == "":
		return errors.New("open event bus: the cluster has no name")
	case len(c.URLs) == 0 && c.StoreDir == "":
		return errors.New("open event bus: neither a NATS URL nor a directory for the embedded server's store\nhint: --nats-url or --store")
	case len(c.URLs) > 0 && c.Listen != nil:
		return errors.New("open event bus: only the embedded NATS server can listen\nhint: leave --nats-url or --nats-listen away")
	case len(c.URLs) == 0 && (c.Replicas != 0 || c.Domain != ""):
		return errors.New("open event bus: the embedded NATS server has neither replicas nor a JetStream domain\nhint: give --nats-url too")
	case c.Replicas < 0 || c.Replicas > 5:
		return fmt.Errorf("open event bus: %d replicas of a stream\nhint: --nats-replicas 1 to 5", c.Replicas)
	case c.Domain != "" && !domainName.MatchString(c.Domain):
		return fmt.Errorf("open event bus: JetStream domain %q is no name\nhint: letters, digits, \"-\" and \"_\"", c.Domain)
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return errors.New("open event bus: a client certificate and its key come together\nhint: --nats-cert and --nats-key")
	}
	if c.Listen != nil && (c.Listen.TLS.Cert == "" || c.Listen.TLS.Key == "" || c.Listen.Users == "") {
		return fmt.Errorf("open event bus: listening on %q needs a certificate, its key and a file of users", c.Listen.Address)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.GivenUp == nil {
		c.GivenUp = func(context.Context, event.Event, error) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.tuning.complete(len(c.URLs) == 0)
	return nil
}

func (t *tuning) complete(embedded bool) {
	reconnect := 2 * time.Second
	if embedded {
		reconnect = 50 * time.Millisecond
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&t.ackWait, ackWait}, {&t.hold, time.Second}, {&t.request, 5 * time.Second}, {&t.reconnect, reconnect},
		{&t.watch, 5 * time.Second}, {&t.keepAlive, 30 * time.Second}, {&t.marksEvery, 30 * time.Second},
	} {
		if *d.value == 0 {
			*d.value = d.or
		}
	}
	for _, n := range []struct {
		value *int
		or    int
	}{{&t.outbox, 8192}, {&t.followers, 16}, {&t.marksBurst, 100}} {
		if *n.value == 0 {
			*n.value = n.or
		}
	}
	if t.retry == nil {
		t.retry = []time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}
	}
}
