package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

var (
	// ErrRetryLater is a handler's way to say that the world is not ready (the API server is
	// away). The message stays in hand and the handler is asked again, for as long as it
	// takes; those behind it wait.
	ErrRetryLater = errors.New("retry later")
	// ErrPoison is a handler's way to say that no repetition helps. The message is given up.
	ErrPoison = errors.New("poison")
)

// Handler acts on one event. It may be handed the same one again: what it does must be done
// once however often it is asked. Nil: done, never again. [ErrRetryLater] and [ErrPoison] are
// above. Any other error puts the message back for a while; after its last delivery it is
// given up. What is given up is counted, logged and passed to [Config.GivenUp].
type Handler func(ctx context.Context, e event.Event) error

// Requests hands every rotation.requested to a handler, one at a time, until the context or
// the bus ends. Only one process at a time should call it: the leader.
func (b *Bus) Requests(ctx context.Context, handle Handler) error {
	return b.consume(ctx, consumption{stream: EventStream(b.config.Cluster), name: ConsumerRotator, most: maxRequests, expect: event.TypeRotationRequested, handle: handle})
}

// Marks does the same with every certificate.compromised that others published:
// [event.Event.MarkName] is the object to create, and where one of that name exists with
// that content, there is nothing to do. No more than a few a minute are handed out once a
// hundred have come at a time: whoever may mark may restart a control plane.
func (b *Bus) Marks(ctx context.Context, handle Handler) error {
	limit := rate.NewLimiter(rate.Every(b.config.tuning.marksEvery), b.config.tuning.marksBurst)
	limited := func(ctx context.Context, e event.Event) error {
		if err := limit.Wait(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrRetryLater, err)
		}
		return handle(ctx, e)
	}
	return b.consume(ctx, consumption{stream: MarkStream(b.config.Cluster), name: ConsumerMarks, most: maxMarks, age: markAge, expect: event.TypeCertificateCompromised, handle: limited})
}

func (b *Bus) consume(ctx context.Context, c consumption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	c.bus = b
	for b.WaitReady(ctx) == nil {
		err := c.run(ctx)
		if missing(err) {
			b.ready.lookAgain()
		}
		if ctx.Err() == nil {
			b.config.Log.Debug("consumer interrupted", "consumer", c.name, "error", err)
			pause(ctx, 100*time.Millisecond)
		}
	}
	return ctx.Err()
}

// fetchWait is how long one request for a message waits.
const fetchWait = 20 * time.Second

type consumption struct {
	bus    *Bus
	stream string
	name   string
	most   int           // deliveries of a message
	age    time.Duration // of what is not given up as too old; 0: any
	expect event.Type
	handle Handler
}

// run fetches message after message. It asks for the next one only when it is free to
// handle it: what waits in a buffer here would run out of AckWait.
func (c *consumption) run(ctx context.Context) error {
	consumer, err := c.bus.rotator.jetStream().Consumer(ctx, c.stream, c.name)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		request, cancel := context.WithTimeout(ctx, fetchWait)
		batch, err := consumer.Fetch(1, jetstream.FetchContext(request), jetstream.FetchHeartbeat(2*time.Second))
		if err == nil {
			for msg := range batch.Messages() {
				c.take(ctx, msg)
			}
			err = batch.Error()
		}
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return ctx.Err()
}

// take handles one message and says how it ended.
func (c *consumption) take(ctx context.Context, msg jetstream.Msg) {
	e, err := c.admit(msg)
	delivery := deliveries(msg)
	log := c.bus.config.Log.With("consumer", c.name, "subject", msg.Subject(), "id", e.ID)
	if err == nil {
		stop := c.keep(msg)
		err = c.call(ctx, e)
		stop()
	}
	switch {
	case err == nil:
		confirm, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.bus.config.tuning.request)
		defer cancel()
		if err := msg.DoubleAck(confirm); err != nil {
			log.Warn("event is done but NATS does not confirm it; it will come again", "error", err)
		}
		c.bus.counters.handled.Add(1)
	case ctx.Err() != nil && !errors.Is(err, ErrPoison): // we are leaving: whoever comes next has it at once
		c.settle(log.Warn, msg.Nak())
	case errors.Is(err, ErrPoison), delivery >= c.most:
		c.bus.counters.givenUp.Add(1)
		log.Error("event given up", "deliveries", delivery, "error", err)
		c.bus.config.GivenUp(ctx, e, err)
		c.settle(log.Warn, msg.TermWithReason(reason(err)))
	default:
		c.bus.counters.retried.Add(1)
		retry := c.bus.config.tuning.retry
		delay := retry[min(delivery, len(retry))-1]
		log.Warn("event not handled, trying again", "after", delay, "error", err)
		c.settle(log.Warn, msg.NakWithDelay(delay))
	}
}

func (c *consumption) settle(warn func(string, ...any), err error) {
	if err != nil {
		warn("NATS was not told how an event ended; it will come again", "error", err)
	}
}

// admit reads a message. Its subject is what NATS let its sender publish, so what it says
// must not claim more.
func (c *consumption) admit(msg jetstream.Msg) (event.Event, error) {
	e, err := event.Parse(msg.Data())
	// An event is as old as NATS says: whoever publishes it may have another clock, and it need
	// not have a time.
	if meta, metaErr := msg.Metadata(); metaErr == nil {
		e.Time = meta.Timestamp.UTC()
	}
	switch old := c.bus.config.Now().Sub(e.Time); {
	case err != nil:
		return event.Event{}, fmt.Errorf("%w: %w", ErrPoison, err)
	case msg.Headers().Get(jetstream.StreamHeader) != "":
		// Who may read a stream says where the answer goes, and so could have an old request
		// published again.
		return e, fmt.Errorf("%w: it is what the server answered to a reader of stream %q", ErrPoison, msg.Headers().Get(jetstream.StreamHeader))
	case c.age > 0 && old > c.age:
		return e, fmt.Errorf("%w: published %s ago, more than %s", ErrPoison, old.Round(time.Minute), c.age)
	case deliveries(msg) > c.most: // each ended with its process, or its connection
		return e, fmt.Errorf("%w: not handled in %d deliveries", ErrPoison, c.most)
	case e.Cluster != c.bus.config.Cluster:
		return e, fmt.Errorf("%w: it is about cluster %q", ErrPoison, e.Cluster)
	case e.Type != c.expect:
		return e, fmt.Errorf("%w: a %s on the subject of %s", ErrPoison, e.Type, c.expect)
	}
	return e, nil
}

// keep says every third of AckWait that the message is still being handled.
func (c *consumption) keep(msg jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for pause(ctx, c.bus.config.tuning.ackWait/3) {
			c.settle(c.bus.config.Log.Debug, msg.InProgress())
		}
	})
	return func() { cancel(); done.Wait() }
}

// call asks the handler until it wants no more time.
func (c *consumption) call(ctx context.Context, e event.Event) error {
	wait := c.bus.config.tuning.hold
	for {
		err := c.guarded(ctx, e)
		if !errors.Is(err, ErrRetryLater) {
			return err
		}
		c.bus.config.Log.Debug("event is to be tried later", "consumer", c.name, "id", e.ID, "error", err)
		if !pause(ctx, wait) {
			return err
		}
		wait = min(2*wait, 30*time.Second)
	}
}

// guarded turns a panic into a failed delivery.
func (c *consumption) guarded(ctx context.Context, e event.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the handler of %s: %v", e.Type, p)
			c.bus.config.Log.Error("panic", "error", err, "stack", string(debug.Stack()))
		}
	}()
	return c.handle(ctx, e)
}

// deliveries is how often a message was delivered, this time included.
func deliveries(msg jetstream.Msg) int {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return max(1, int(meta.NumDelivered)) //nolint:gosec // a count of deliveries
}

// reason is an error as NATS's advisory carries it: one line, not too long.
func reason(err error) string {
	line := strings.Join(strings.Fields(strings.TrimPrefix(err.Error(), ErrPoison.Error()+": ")), " ")
	if len(line) > 400 {
		line = strings.ToValidUTF8(line[:400], "") + "…"
	}
	return line
}
