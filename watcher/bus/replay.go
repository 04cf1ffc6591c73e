package bus

import (
	"context"
	"errors"
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
			return nil //nolint:nilerr // what it is instead shows among the dead letters
		}
		failed = fn(e)
		return failed
	})
	if err != nil && failed == nil {
		return fmt.Errorf("read events: %w", err)
	}
	return failed
}

// read gives a stream's messages through an ordered consumer, which starts itself again
// when it misses one.
func (b *Bus) read(ctx context.Context, stream string, since time.Time, follow bool, fn func(jetstream.Msg) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	config := jetstream.OrderedConsumerConfig{DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: time.Minute}
	if !since.IsZero() {
		config.DeliverPolicy, config.OptStartTime = jetstream.DeliverByStartTimePolicy, &since
	}
	consumer, err := b.rotator.js.OrderedConsumer(ctx, stream, config)
	if err != nil {
		return err
	}
	if !follow && consumer.CachedInfo().NumPending == 0 {
		return nil
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer messages.Stop()
	for {
		msg, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		meta, err := msg.Metadata()
		if err != nil {
			return err
		}
		if err := fn(msg); err != nil {
			return err
		}
		if !follow && meta.NumPending == 0 {
			return nil
		}
	}
}
