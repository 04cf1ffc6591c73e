package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// ErrOutboxFull means that an event was dropped, since NATS was unavailable for too long. The
// caller publishes it again while its cause remains.
var ErrOutboxFull = errors.New("too many events wait for NATS")

// outbox publishes events in the order given, each until NATS has stored it. Requests are
// moved ahead if many events wait.
type outbox struct {
	bus  *Bus
	link *link

	mu    sync.Mutex
	queue []letter
	ids   map[string]bool // of the queue
	more  chan struct{}
	full  bool // it was logged
}

type letter struct {
	id, subject string
	raw         []byte
	request     bool
}

const (
	// inOrder is how many events may wait before a request is moved ahead.
	inOrder = 16
	// forRequests is the room for requests in addition to other events.
	forRequests = 64
)

func newOutbox(b *Bus, l *link) *outbox {
	return &outbox{bus: b, link: l, ids: map[string]bool{}, more: make(chan struct{}, 1)}
}

func (o *outbox) addEvent(e event.Event, raw []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids[e.ID] {
		return nil
	}
	request := e.Type == event.TypeRotationRequested
	room := o.bus.config.tuning.outbox
	if request {
		room += forRequests
	}
	if len(o.queue) >= room {
		o.bus.counters.overflowed.Add(1)
		if !o.full {
			o.link.log.Warn("events are dropped until NATS is available; they are published again while their cause remains", "waiting", len(o.queue))
		}
		o.full = true
		return fmt.Errorf("publish %s of %q: %w", e.Type, e.Subject, ErrOutboxFull)
	}
	at := len(o.queue)
	if request && at > inOrder {
		// Not before the first event, which may be in transmission.
		at = 1 + slices.IndexFunc(o.queue[1:], func(l letter) bool { return !l.request })
		at = cmp.Or(at, len(o.queue))
	}
	o.queue = slices.Insert(o.queue, at, letter{id: e.ID, subject: SubjectOf(e), raw: raw, request: request})
	o.ids[e.ID] = true
	select {
	case o.more <- struct{}{}:
	default:
	}
	return nil
}

func (o *outbox) countWaiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

func (o *outbox) firstLetter() (letter, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.full = false
		return letter{}, false
	}
	return o.queue[0], true
}

func (o *outbox) dropFirst() {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ids, o.queue[0].id)
	o.queue[0] = letter{}
	if o.queue = o.queue[1:]; len(o.queue) == 0 {
		o.queue = nil // frees its array
	}
}

func (o *outbox) publishLoop() {
	const shortest = 50 * time.Millisecond
	ctx := o.bus.ctx
	pause := shortest
	for ctx.Err() == nil {
		next, ok := o.firstLetter()
		if !ok {
			select {
			case <-o.more:
			case <-ctx.Done():
			}
			continue
		}
		up, down := o.link.connectionState()
		if down != nil {
			_ = wait.SleepOrWake(ctx, time.Minute, up)
			continue
		}
		err := o.publishOne(ctx, next)
		switch {
		case err == nil:
			o.dropFirst()
			pause = shortest
			continue
		case isPermanent(err):
			o.bus.counters.refused.Add(1)
			o.link.log.Error("event not published", "subject", next.subject, "id", next.id, "error", err)
			o.dropFirst()
			continue
		case isMissing(err):
			o.bus.ready.requestCheck()
		}
		o.link.log.Debug("event not published yet", "subject", next.subject, "error", err)
		_ = wait.SleepOrWake(ctx, pause, up)
		pause = min(2*pause, 5*time.Second)
	}
}

func (o *outbox) publishOne(ctx context.Context, l letter) error {
	msg := nats.NewMsg(l.subject)
	msg.Data = l.raw
	msg.Header.Set("Content-Type", event.ContentType)
	ctx, cancel := context.WithTimeout(ctx, o.bus.config.tuning.request)
	defer cancel()
	ctx, cause := o.link.withDenial(ctx, func(subject string) bool { return subject == l.subject })
	ack, err := o.link.jetStream().PublishMsg(ctx, msg, jetstream.WithMsgID(l.id), jetstream.WithExpectStream(EventStream(o.bus.config.Cluster)))
	if err = cause(err); err != nil {
		return err
	}
	if ack.Duplicate {
		o.bus.counters.duplicates.Add(1)
	} else {
		o.bus.counters.published.Add(1)
	}
	return nil
}

// isPermanent is true for an error that a retry cannot fix. The event is dropped, so that
// others can be published.
func isPermanent(err error) bool {
	if errors.Is(err, errDenied) || errors.Is(err, nats.ErrMaxPayload) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeTooLarge
}

// codeTooLarge: the message is larger than its stream allows.
const codeTooLarge jetstream.ErrorCode = 10054
