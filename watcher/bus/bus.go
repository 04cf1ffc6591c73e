package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Bus carries the events of one cluster.
type Bus struct {
	config   Config
	embedded *embedded // nil: an external server
	reporter *link
	rotator  *link
	outboxes map[string]*outbox // by role

	ready    *readiness
	store    life
	counters counters

	followers atomic.Int64
	ctx       context.Context // ends with Close
	stop      context.CancelFunc
	tasks     sync.WaitGroup
}

// Open starts the bus. An error means that the configuration cannot be right, or that another
// process uses the embedded server's store. No server need run yet: [Bus.Ready] says how it
// stands, and what is published waits.
func Open(ctx context.Context, config Config) (*Bus, error) {
	if err := config.complete(); err != nil {
		return nil, err
	}
	b := &Bus{config: config, ready: newReadiness()}
	b.ctx, b.stop = context.WithCancel(context.WithoutCancel(ctx))
	b.store.begin(b.ctx)
	if err := b.open(); err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

func (b *Bus) open() error {
	var err error
	reporter, rotator := b.config.Credentials, b.config.RotatorCredentials
	if rotator == "" {
		rotator = reporter
	}
	if len(b.config.URLs) == 0 {
		if b.embedded, err = startEmbedded(&b.config); err != nil {
			return err
		}
		if b.embedded.stopped() != nil {
			b.tasks.Go(b.restartServer)
		}
	}
	if b.reporter, err = b.connect(roleReporter, reporter); err != nil {
		return err
	}
	if b.rotator, err = b.connect(roleRotator, rotator); err != nil {
		return err
	}
	b.outboxes = map[string]*outbox{
		roleReporter: newOutbox(b, b.reporter),
		roleRotator:  newOutbox(b, b.rotator),
	}
	for _, o := range b.outboxes {
		b.tasks.Go(o.run)
	}
	b.tasks.Go(b.prepare)
	if b.embedded != nil {
		b.tasks.Go(b.watchStore)
		if b.config.Listen != nil {
			b.tasks.Go(b.followUsers)
		}
	}
	return nil
}

func (b *Bus) connect(role, credentials string) (*link, error) {
	if b.embedded != nil {
		credentials = ""
	}
	l, err := connect(&b.config, role, credentials, b.embedded)
	if err == nil && credentials != "" {
		b.tasks.Go(func() { b.followCredentials(l) })
	}
	return l, err
}

// Close ends everything within moments. What is still in the outboxes is lost, which loses
// nothing: see [Bus.Publish].
func (b *Bus) Close() {
	b.stop()
	for _, l := range []*link{b.reporter, b.rotator} {
		if l != nil {
			l.close()
		}
	}
	b.tasks.Wait()
	if b.embedded != nil {
		b.embedded.shutdown()
	}
}

// Publish tells an event, dated now. It never waits: the event goes through an outbox in
// memory, in order, and is tried until NATS has it on disk. What finds the outbox full, or
// dies there with this process, is lost. So callers publish again for as long as a thing is
// so: the same data has the same id, and is told once. An error says that the data is not
// what its schema allows, or [ErrOutboxFull]; neither is a reason to stop.
func (b *Bus) Publish(data event.Data) error {
	e := event.New(b.config.Cluster, b.config.Now(), data)
	raw, err := e.MarshalJSON()
	if err == nil {
		_, err = event.Parse(raw)
	}
	if err != nil {
		b.counters.refused.Add(1)
		return fmt.Errorf("publish %s of %q: %w", e.Type, e.Subject, err)
	}
	return b.outboxes[publisher(e.Type)].add(e, raw)
}

// EventID returns the id that [Bus.Publish] gives an event of some data.
func (b *Bus) EventID(data event.Data) string {
	return event.New(b.config.Cluster, b.config.Now(), data).ID
}

// Ready says why events do not flow just now; nil: they do.
func (b *Bus) Ready() error {
	if err := b.embedded.stopped(); err != nil {
		return err
	}
	for _, l := range []*link{b.reporter, b.rotator} {
		if _, err := l.state(); err != nil {
			return fmt.Errorf("NATS as %s: %w", l.role, err)
		}
	}
	return b.ready.err()
}

// WaitReady waits until events flow, or the context ends.
func (b *Bus) WaitReady(ctx context.Context) error {
	for {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		changed := b.ready.changed()
		err := b.Ready()
		if err == nil {
			return nil
		}
		timer := time.NewTimer(50 * time.Millisecond) // links come back without a word here
		select {
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
		timer.Stop()
	}
}

// Stats are counts since the bus was opened, but where they say otherwise.
type Stats struct {
	Published  uint64 // stored by NATS
	Duplicates uint64 // NATS had them already
	Refused    uint64 // not what their schema allows, too large, or not permitted
	Overflowed uint64 // found the outbox full
	Waiting    int    // in the outboxes now
	Handled    uint64 // requests and marks that a handler has done
	Retried    uint64 // put back, to be handed out again
	// GivenUp are requests and marks that no repetition can fix, and those whose handler failed
	// at their last delivery.
	GivenUp   uint64
	Followers int  // of /events now
	Connected bool // both connections are up
	SetAside  uint64
}

type counters struct {
	published, duplicates, refused, overflowed, handled, retried, givenUp, setAside atomic.Uint64
}

// Stats returns the counts.
func (b *Bus) Stats() Stats {
	c := &b.counters
	s := Stats{
		Published: c.published.Load(), Duplicates: c.duplicates.Load(), Refused: c.refused.Load(),
		Overflowed: c.overflowed.Load(), Handled: c.handled.Load(), Retried: c.retried.Load(),
		GivenUp: c.givenUp.Load(), SetAside: c.setAside.Load(),
		Followers: int(b.followers.Load()), Connected: true,
	}
	for _, o := range b.outboxes {
		s.Waiting += o.waiting()
	}
	for _, l := range []*link{b.reporter, b.rotator} {
		if _, err := l.state(); err != nil {
			s.Connected = false
		}
	}
	return s
}

// pause waits; it says whether to go on.
func pause(ctx context.Context, d time.Duration, wake ...<-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	var first <-chan struct{}
	if len(wake) > 0 {
		first = wake[0]
	}
	select {
	case <-timer.C:
	case <-first:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
