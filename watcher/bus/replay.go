package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Replay gives every event since a time (zero: all that are kept), oldest first; with
// follow it goes on until the context or the bus ends, or fn fails, whose error it returns.
// What is no event of this cluster is left out.
func (b *Bus) Replay(ctx context.Context, since time.Time, follow bool, fn func(event.Event) error) error {
	var failed error
	err := b.read(ctx, EventStream(b.config.Cluster), since, follow, func(msg jetstream.Msg) error {
		e, err := event.Parse(msg.Data())
		if err != nil || e.Cluster != b.config.Cluster {
			return nil //nolint:nilerr // who consumes it reports what it is instead
		}
		failed = fn(e)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("read events: %w", err)
	}
	return failed
}

// read gives a stream's messages; with follow it outlives connections and servers.
func (b *Bus) read(ctx context.Context, stream string, since time.Time, follow bool, fn func(jetstream.Msg) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	r := &reading{bus: b, stream: stream, since: since, follow: follow, fn: fn}
	for {
		err := r.run(ctx)
		if r.refused != nil || err == nil {
			return r.refused
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !follow {
			return err
		}
		if missing(err) {
			b.ready.lookAgain()
		}
		pause(ctx, 100*time.Millisecond)
		if err := b.WaitReady(ctx); err != nil {
			return err
		}
	}
}

// reading is where one reader of a stream is.
type reading struct {
	bus     *Bus
	stream  string
	since   time.Time
	follow  bool
	fn      func(jetstream.Msg) error
	last    uint64    // the sequence of the last message that fn had
	created time.Time // the stream's: another one counts from the beginning
	refused error     // what fn said
}

// run reads until something ends it, and goes on where the last run ended.
func (r *reading) run(ctx context.Context) error {
	js, store := r.bus.rotator.jetStream(), r.bus.store.context()
	s, err := js.Stream(ctx, r.stream)
	if err != nil {
		return err
	}
	if created := s.CachedInfo().Created; !created.Equal(r.created) {
		r.created, r.last = created, 0
	}
	config := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: time.Minute, MaxResetAttempts: 1,
	}
	switch {
	case r.last > 0:
		config.DeliverPolicy, config.OptStartSeq = jetstream.DeliverByStartSequencePolicy, r.last+1
	case !r.since.IsZero():
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &r.since
	}
	consumer, err := js.OrderedConsumer(ctx, r.stream, config)
	if err != nil {
		return err
	}
	if !r.follow && consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	defer context.AfterFunc(store, messages.Stop)()
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if r.refused = r.fn(msg); r.refused != nil {
			return r.refused
		}
		r.last = meta.Sequence.Stream
		if !r.follow && meta.NumPending == 0 {
			return nil
		}
	}
}
