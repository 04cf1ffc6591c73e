package bus

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// ReplayEvents passes every event since a time (zero: all that are kept) to fn, oldest first. With
// follow it continues until the context or the bus ends, or fn fails; it returns the error of
// fn. Messages that are not events of this cluster are skipped.
func (b *Bus) ReplayEvents(ctx context.Context, since time.Time, follow bool, fn func(event.Event) error) error {
	return b.passEvents(ctx, reading{since: since, follow: follow}, fn)
}

// ReplayAnswers passes the answers to requests of other clusters that were published since a time to
// fn, oldest first.
func (b *Bus) ReplayAnswers(ctx context.Context, since time.Time, fn func(event.Event)) error {
	only := buildSubject(b.config.Cluster, event.TypeRotationAsked, "*")
	return b.passEvents(ctx, reading{since: since, subject: only}, func(e event.Event) error { fn(e); return nil })
}

// passEvents passes what a reader of the stream of events finds to fn.
func (b *Bus) passEvents(ctx context.Context, r reading, fn func(event.Event) error) error {
	var failed error
	r.bus = b
	r.stream = EventStream(b.config.Cluster)
	r.fn = func(msg jetstream.Msg) error {
		e, err := event.ParseEvent(msg.Data())
		if err != nil || e.Cluster != b.config.Cluster {
			return nil //nolint:nilerr // the consumer logs invalid messages
		}
		failed = fn(e)
		return failed
	}
	err := r.readStream(ctx)
	if err != nil && failed == nil {
		return fmt.Errorf("read events: %w", err)
	}
	return failed
}

// readStream passes the messages of the stream to fn; with follow it continues over reconnects.
func (r *reading) readStream(ctx context.Context) error {
	b := r.bus
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	for {
		err := r.readOnce(ctx)
		if r.refused != nil || err == nil {
			return r.refused
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !r.follow {
			return err
		}
		if isMissing(err) {
			b.ready.requestCheck()
		}
		_ = wait.SleepFor(ctx, 100*time.Millisecond)
		if err := b.WaitReady(ctx); err != nil {
			return err
		}
	}
}

// reading is the position of one reader in a stream.
type reading struct {
	bus     *Bus
	stream  string
	subject string // of the messages; empty: all
	since   time.Time
	follow  bool
	fn      func(jetstream.Msg) error
	last    uint64    // sequence of the last message that was passed to fn
	created time.Time // of the stream: a new stream starts from the beginning
	refused error     // the error of fn
}

// readOnce reads until an error, from the position of the last run.
func (r *reading) readOnce(ctx context.Context) error {
	js := r.bus.rotator.jetStream()
	s, err := js.Stream(ctx, r.stream)
	if err != nil {
		return err
	}
	if created := s.CachedInfo().Created; !created.Equal(r.created) {
		r.created = created
		r.last = 0
	}
	config := jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverAllPolicy, InactiveThreshold: time.Minute, MaxResetAttempts: 1,
	}
	if r.subject != "" {
		config.FilterSubjects = []string{r.subject}
	}
	switch {
	case r.last > 0:
		config.DeliverPolicy = jetstream.DeliverByStartSequencePolicy
		config.OptStartSeq = r.last + 1
	case !r.since.IsZero():
		config.DeliverPolicy = jetstream.DeliverByStartTimePolicy
		config.OptStartTime = &r.since
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
