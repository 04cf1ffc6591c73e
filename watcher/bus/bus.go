package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Bus carries the events of one cluster.
type Bus struct {
	config   Config
	embedded *embedded // nil: an external server
	reporter *link
	rotator  *link
	fleet    *link              // nil: summaries of other clusters are not read
	outboxes map[string]*outbox // by role

	ready    *readiness
	counters counters

	followers atomic.Int64
	ctx       context.Context // ends with Close
	stop      context.CancelFunc
	tasks     sync.WaitGroup
}

// Open starts the bus. An error means that the configuration is invalid, or that another
// process uses the store of the embedded server. The NATS server need not be available yet:
// [Bus.Ready] returns why events are not published, and they wait.
func Open(ctx context.Context, config Config) (*Bus, error) {
	if err := config.setDefaults(); err != nil {
		return nil, err
	}
	b := &Bus{config: config, ready: newReadiness()}
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	if err := b.openAll(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bus) openAll() error {
	var err error
	reporter := b.config.Credentials
	rotator := cmp.Or(b.config.RotatorCredentials, reporter)
	if len(b.config.URLs) == 0 {
		if b.embedded, err = startEmbedded(&b.config); err != nil {
			return err
		}
		if b.embedded.startFailure() != nil {
			b.tasks.Go(b.retryStart)
		}
	}
	if b.reporter, err = b.connectRole(roleReporter, reporter); err != nil {
		return err
	}
	if b.rotator, err = b.connectRole(roleRotator, rotator); err != nil {
		return err
	}
	if b.config.ReadSummaries {
		if b.fleet, err = b.connectRole(roleFleet, cmp.Or(b.config.FleetCredentials, reporter)); err != nil {
			return err
		}
	}
	b.outboxes = map[string]*outbox{
		roleReporter: newOutbox(b, b.reporter),
		roleRotator:  newOutbox(b, b.rotator),
	}
	for _, o := range b.outboxes {
		b.tasks.Go(o.publishLoop)
	}
	b.tasks.Go(b.declareLoop)
	if b.embedded != nil && b.config.Listen != nil {
		b.tasks.Go(b.followUsers)
	}
	return nil
}

func (b *Bus) connectRole(role, credentials string) (*link, error) {
	if b.embedded != nil {
		credentials = ""
	}
	l, err := newLink(&b.config, role, credentials, b.embedded)
	if err == nil && credentials != "" {
		b.tasks.Go(func() { b.followCredentials(l) })
	}
	return l, err
}

// Close ends everything within moments. Events that wait in the outboxes are lost, see
// [Bus.Publish].
func (b *Bus) Close() {
	b.stop()
	for _, l := range []*link{b.reporter, b.rotator, b.fleet} {
		if l != nil {
			l.closeLink()
		}
	}
	b.tasks.Wait()
	if b.embedded != nil {
		b.embedded.shutDown()
	}
}

// Publish publishes an event with the current time. It never waits: the event is put into an
// outbox in memory, and tried in order until NATS has stored it. It is lost if the outbox is
// full, or if this process ends. So callers publish again while the cause remains: the same
// data has the same id, and is stored once. An error means that the data violates its schema,
// or [ErrOutboxFull]; callers continue after both.
func (b *Bus) Publish(data event.Data) error {
	e := event.New(b.config.Cluster, b.config.Now(), data)
	raw, err := e.MarshalJSON()
	if err == nil {
		_, err = event.ParseEvent(raw)
	}
	if err != nil {
		b.counters.refused.Add(1)
		return fmt.Errorf("publish %s of %q: %w", e.Type, e.Subject, err)
	}
	return b.outboxes[publishingRole(e.Type)].addEvent(e, raw)
}

// EventID returns the id that [Bus.Publish] gives an event with this data.
func (b *Bus) EventID(data event.Data) string {
	return event.New(b.config.Cluster, b.config.Now(), data).ID
}

// Ready returns why events cannot be published and received now; nil: they can.
func (b *Bus) Ready() error {
	if err := b.embedded.startFailure(); err != nil {
		return err
	}
	for _, l := range []*link{b.reporter, b.rotator} {
		if _, err := l.connectionState(); err != nil {
			return fmt.Errorf("NATS as %s: %w", l.role, err)
		}
	}
	return b.ready.currentError()
}

// WaitReady waits until the bus is ready, or the context ends.
func (b *Bus) WaitReady(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		changed := b.ready.changedSignal()
		err := b.Ready()
		if err == nil {
			return nil
		}
		if wait.SleepOrWake(ctx, 50*time.Millisecond, changed) != nil { // a reconnect does not close changed
			return errors.Join(ctx.Err(), err)
		}
	}
}

// Stats are counts since the bus was opened, except for the current values among them.
type Stats struct {
	Published  uint64 // stored by NATS
	Duplicates uint64 // NATS had them already
	Refused    uint64 // invalid, too large, or not permitted
	Overflowed uint64 // dropped: the outbox was full
	Waiting    int    // in the outboxes now
	Handled    uint64 // received and handled
	Retried    uint64 // put back, to be delivered again
	// GivenUp are received events that can never be handled, or failed at the last delivery.
	GivenUp   uint64
	Followers int  // of /events now
	Connected bool // both connections are up
}

type counters struct {
	published, duplicates, refused, overflowed, handled, retried, givenUp atomic.Uint64
}

// Stats returns the counts.
func (b *Bus) Stats() Stats {
	c := &b.counters
	s := Stats{
		Published: c.published.Load(), Duplicates: c.duplicates.Load(), Refused: c.refused.Load(),
		Overflowed: c.overflowed.Load(), Handled: c.handled.Load(), Retried: c.retried.Load(),
		GivenUp:   c.givenUp.Load(),
		Followers: int(b.followers.Load()), Connected: true,
	}
	for _, o := range b.outboxes {
		s.Waiting += o.countWaiting()
	}
	for _, l := range []*link{b.reporter, b.rotator} {
		if _, err := l.connectionState(); err != nil {
			s.Connected = false
		}
	}
	return s
}
