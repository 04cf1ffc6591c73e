package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Config selects the NATS server: an external one with URLs, otherwise one in this process
// with its store in StoreDir.
type Config struct {
	Cluster string // names subjects and streams; required

	// StoreDir is the directory of the embedded server. Only one process may use it.
	StoreDir string
	// Listen lets others connect to the embedded server. Nil: only this process connects.
	Listen *Listen

	URLs []string
	// Replicas is the number of external servers that store each stream; 0: one, or that of an
	// existing stream.
	Replicas int
	// Domain is the JetStream domain of the external streams; empty: that of the servers.
	Domain string
	// TLS is for the external server. Its files are read at every connect.
	TLS TLS
	// Credentials and RotatorCredentials are files: a .creds file or an NKey seed, read again
	// when they change. The first user publishes observations and requests rotations; the
	// second receives requests and reports of compromised keys, and publishes how rotations
	// proceed. Without the second, the first user needs both sets of permissions.
	Credentials, RotatorCredentials string

	// ShareSummary keeps the bucket of [Bus.PutSummary] in the embedded server.
	ShareSummary bool
	// ReadSummaries connects as a third user, with FleetCredentials, for [Bus.ReadSummaries].
	// Without such a file the first user needs its permissions, too.
	ReadSummaries    bool
	FleetCredentials string

	// GivenUp receives every event that is given up; an event that could not be parsed is
	// empty, and one of another publisher than it names has no data. Nil: it is only counted and logged.
	GivenUp func(ctx context.Context, e event.Event, why error)

	// Now is the clock for the time of events; nil: the real one.
	Now func() time.Time
	Log *slog.Logger // nil: nothing is logged

	tuning tuning
}

// TLS names files in PEM. CA verifies the server; Cert and Key authenticate this client.
type TLS struct {
	CA, Cert, Key string
}

// Listen is the TLS listener of the embedded server.
type Listen struct {
	Address string // "host:port"
	// TLS has the listener's certificate, key and CA, read again for every handshake. With a CA,
	// clients must show a certificate by it, besides being a user.
	TLS TLS
	// Users is a file with one user on each line: a role (reporter, rotator,
	// incident-responder, viewer or fleet), and either a public NKey or a name and a password (bcrypt
	// or plain). "#" begins a comment. It is read again when it changes.
	Users string
}

// tuning is changed by tests only; zero values mean the defaults.
type tuning struct {
	ackWait          time.Duration
	retry            []time.Duration // delay before the 2nd, 3rd … delivery; the last one repeats
	hold             time.Duration   // first pause after ErrRetryLater
	outbox           int             // maximum of waiting events
	request          time.Duration   // one request to NATS
	reconnect        time.Duration
	watch            time.Duration // how often files of users and credentials are checked, and a failed start is retried
	followers        int
	keepAlive        time.Duration
	compromisedBurst int
	compromisedEvery time.Duration
}

var domainName = regexp.MustCompile(`^[a-zA-Z0-9_-]+$`)

func (c *Config) setDefaults() error {
	switch {
	case c.Cluster == "":
		return errors.New("open event bus: the cluster has no name")
	case len(c.URLs) == 0 && c.StoreDir == "":
		return hint.AddTo(errors.New("open event bus: neither a NATS URL nor a directory for the embedded server's store"), "--nats-url or --store")
	case len(c.URLs) > 0 && c.Listen != nil:
		return hint.AddTo(errors.New("open event bus: only the embedded NATS server can listen"), "omit --nats-url or --nats-listen")
	case len(c.URLs) == 0 && (c.Replicas != 0 || c.Domain != ""):
		return hint.AddTo(errors.New("open event bus: the embedded NATS server has neither replicas nor a JetStream domain"), "give --nats-url too")
	case c.ShareSummary && len(c.URLs) == 0 && c.Listen == nil:
		return hint.AddTo(errors.New("open event bus: only this process connects to the embedded NATS server, so a summary in it is shared with no one"), "give --nats-url or --nats-listen too")
	case c.Replicas < 0 || c.Replicas > 5:
		return hint.AddTo(fmt.Errorf("open event bus: %d replicas of a stream", c.Replicas), "--nats-replicas 1 to 5")
	case c.Domain != "" && !domainName.MatchString(c.Domain):
		return hint.AddTo(fmt.Errorf("open event bus: JetStream domain %q is no name", c.Domain), "letters, digits, \"-\" and \"_\"")
	case (c.TLS.Cert == "") != (c.TLS.Key == ""):
		return hint.AddTo(errors.New("open event bus: a client certificate and its key come together"), "--nats-cert and --nats-key")
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
	c.tuning.setDefaults(len(c.URLs) == 0)
	return nil
}

func (t *tuning) setDefaults(embedded bool) {
	reconnect := 2 * time.Second
	if embedded {
		reconnect = 50 * time.Millisecond
	}
	for _, d := range []struct {
		value *time.Duration
		or    time.Duration
	}{
		{&t.ackWait, ackWait}, {&t.hold, time.Second}, {&t.request, 5 * time.Second}, {&t.reconnect, reconnect},
		{&t.watch, 5 * time.Second}, {&t.keepAlive, 30 * time.Second}, {&t.compromisedEvery, 30 * time.Second},
	} {
		*d.value = cmp.Or(*d.value, d.or)
	}
	for _, n := range []struct {
		value *int
		or    int
	}{{&t.outbox, 8192}, {&t.followers, 16}, {&t.compromisedBurst, 100}} {
		*n.value = cmp.Or(*n.value, n.or)
	}
	if t.retry == nil {
		t.retry = []time.Duration{2 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute}
	}
}
