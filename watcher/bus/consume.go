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

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

var (
	// ErrRetryLater is the error of a handler that cannot act now, since the API server is
	// unavailable. The message is kept and the handler called again, without limit; further
	// messages wait.
	ErrRetryLater = errors.New("retry later")
	// ErrPoison is the error of a handler that can never handle the event. It is given up.
	ErrPoison = errors.New("poison")
)

// Handler acts on one event. An event may be delivered again, so a handler must be idempotent.
// Nil: the event is done. See [ErrRetryLater] and [ErrPoison]. After any other error the
// message is put back for a while; after its last delivery it is given up: counted, logged and
// passed to [Config.GivenUp].
type Handler func(ctx context.Context, e event.Event) error

// ReceiveRequests passes every rotation.requested to a handler, one at a time, until the
// context or the bus ends. Only the leader should call it.
func (b *Bus) ReceiveRequests(ctx context.Context, handle Handler) error {
	return b.consumeStream(ctx, consumption{stream: EventStream(b.config.Cluster), name: ConsumerRotator, most: maxRequestDeliveries, expect: event.TypeRotationRequested, handle: handle})
}

// ReceiveCompromised does the same for every certificate.compromised that others published:
// [event.Event.ObjectName] is the object to create. After a hundred at a time only a few per
// minute are passed on, since each of them may restart a control plane.
func (b *Bus) ReceiveCompromised(ctx context.Context, handle Handler) error {
	limit := rate.NewLimiter(rate.Every(b.config.tuning.compromisedEvery), b.config.tuning.compromisedBurst)
	limited := func(ctx context.Context, e event.Event) error {
		if err := limit.Wait(ctx); err != nil {
			return fmt.Errorf("%w: %w", ErrRetryLater, err)
		}
		return handle(ctx, e)
	}
	return b.consumeStream(ctx, consumption{stream: CompromisedStream(b.config.Cluster), name: ConsumerCompromised, most: maxCompromisedDeliveries, age: compromisedMaxWait, expect: event.TypeCertificateCompromised, handle: limited})
}

func (b *Bus) consumeStream(ctx context.Context, c consumption) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	c.bus = b
	for b.WaitReady(ctx) == nil {
		err := c.fetchLoop(ctx)
		if isMissing(err) {
			b.ready.requestCheck()
		}
		if ctx.Err() == nil {
			b.config.Log.Debug("consumer interrupted", "consumer", c.name, "error", err)
			_ = wait.SleepFor(ctx, 100*time.Millisecond)
		}
	}
	return ctx.Err()
}

// fetchWait is how long one pull for a message waits.
const fetchWait = 20 * time.Second

type consumption struct {
	bus    *Bus
	stream string
	name   string
	most   int           // deliveries of a message
	age    time.Duration // older messages are given up; 0: none
	expect event.Type
	verify func(subject string, e event.Event) error // nil: nothing more is checked
	handle Handler
}

// fetchLoop fetches one message at a time, and the next one only after the last was handled:
// the AckWait of a buffered message would expire.
func (c *consumption) fetchLoop(ctx context.Context) error {
	consumer, err := c.bus.rotator.jetStream().Consumer(ctx, c.stream, c.name)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		request, cancel := context.WithTimeout(ctx, fetchWait)
		batch, err := consumer.Fetch(1, jetstream.FetchContext(request), jetstream.FetchHeartbeat(2*time.Second))
		if err == nil {
			for msg := range batch.Messages() {
				c.handleMessage(ctx, msg)
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

// handleMessage handles one message, and acknowledges or returns it.
func (c *consumption) handleMessage(ctx context.Context, msg jetstream.Msg) {
	e, err := c.parseMessage(msg)
	delivery := deliveryCount(msg)
	log := c.bus.config.Log.With("consumer", c.name, "subject", msg.Subject(), "id", e.ID)
	if err == nil {
		stop := c.extendAckWait(msg)
		err = c.callHandler(ctx, e)
		stop()
	}
	switch {
	case err == nil:
		confirm, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.bus.config.tuning.request)
		defer cancel()
		if err := msg.DoubleAck(confirm); err != nil {
			log.Warn("event handled, but NATS did not confirm the acknowledgement; it will be delivered again", "error", err)
		}
		c.bus.counters.handled.Add(1)
	case ctx.Err() != nil && !errors.Is(err, ErrPoison): // shutting down: the next watcher receives it at once
		c.logUnconfirmed(log.Warn, msg.Nak())
	case errors.Is(err, ErrPoison), delivery >= c.most:
		c.bus.counters.givenUp.Add(1)
		log.Error("event given up", "deliveries", delivery, "error", err)
		c.bus.config.GivenUp(ctx, e, err)
		c.logUnconfirmed(log.Warn, msg.TermWithReason(GivenUpReason(err)))
	default:
		c.bus.counters.retried.Add(1)
		retry := c.bus.config.tuning.retry
		delay := retry[min(delivery, len(retry))-1]
		log.Warn("event not handled, trying again", "after", delay, "error", err)
		c.logUnconfirmed(log.Warn, msg.NakWithDelay(delay))
	}
}

func (c *consumption) logUnconfirmed(warn func(string, ...any), err error) {
	if err != nil {
		warn("acknowledgement not sent; the event will be delivered again", "error", err)
	}
}

// parseMessage parses and checks a message. The publisher was permitted for its subject only,
// so the content must match the subject.
func (c *consumption) parseMessage(msg jetstream.Msg) (event.Event, error) {
	e, err := event.ParseEvent(msg.Data())
	// The age of an event is that of the message: its publisher may have another clock, or set
	// no time.
	if meta, metaErr := msg.Metadata(); metaErr == nil {
		e.Time = meta.Timestamp.UTC()
	}
	if err == nil && c.verify != nil {
		if wrong := c.verify(msg.Subject(), e); wrong != nil {
			e.Data = nil // it is not of the publisher that it names, so none is answered
			return e, wrong
		}
	}
	switch old := c.bus.config.Now().Sub(e.Time); {
	case err != nil:
		return event.Event{}, fmt.Errorf("%w: %w", ErrPoison, err)
	case msg.Headers().Get(jetstream.StreamHeader) != "":
		// A reader of a stream chooses the subject of the reply, and could so have an old
		// request published again.
		e.Data = nil
		return e, fmt.Errorf("%w: it is a reply of the server to a reader of stream %q", ErrPoison, msg.Headers().Get(jetstream.StreamHeader))
	case c.age > 0 && old > c.age:
		return e, fmt.Errorf("%w: published %s ago, more than %s", ErrPoison, old.Round(time.Minute), c.age)
	case deliveryCount(msg) > c.most: // each delivery ended with its process or connection
		return e, fmt.Errorf("%w: not handled in %d deliveries", ErrPoison, c.most)
	case e.Cluster != c.bus.config.Cluster:
		return e, fmt.Errorf("%w: it belongs to cluster %q", ErrPoison, e.Cluster)
	case e.Type != c.expect:
		return e, fmt.Errorf("%w: a %s on the subject of %s", ErrPoison, e.Type, c.expect)
	}
	return e, nil
}

// extendAckWait extends the AckWait of a message until stop is called.
func (c *consumption) extendAckWait(msg jetstream.Msg) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		for wait.SleepFor(ctx, c.bus.config.tuning.ackWait/3) == nil {
			c.logUnconfirmed(c.bus.config.Log.Debug, msg.InProgress())
		}
	})
	return func() { cancel(); done.Wait() }
}

// callHandler calls the handler until it does not return [ErrRetryLater].
func (c *consumption) callHandler(ctx context.Context, e event.Event) error {
	pause := c.bus.config.tuning.hold
	for {
		err := c.recoverPanic(ctx, e)
		if !errors.Is(err, ErrRetryLater) {
			return err
		}
		c.bus.config.Log.Debug("event will be tried later", "consumer", c.name, "id", e.ID, "error", err)
		if wait.SleepFor(ctx, pause) != nil {
			return err
		}
		pause = min(2*pause, 30*time.Second)
	}
}

// recoverPanic turns a panic of the handler into an error.
func (c *consumption) recoverPanic(ctx context.Context, e event.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic in the handler of %s: %v", e.Type, p)
			c.bus.config.Log.Error("panic", "error", err, "stack", string(debug.Stack()))
		}
	}()
	return c.handle(ctx, e)
}

// deliveryCount is how often a message was delivered, including this time.
func deliveryCount(msg jetstream.Msg) int {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return max(1, int(meta.NumDelivered)) //nolint:gosec // a count of deliveries
}

// GivenUpReason is an error with which an event is given up as one short line.
func GivenUpReason(err error) string {
	line := strings.Join(strings.Fields(strings.TrimPrefix(hint.TextOf(err), ErrPoison.Error()+": ")), " ")
	if len(line) > 400 {
		line = strings.ToValidUTF8(line[:400], "") + "…"
	}
	return line
}
