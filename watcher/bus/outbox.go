package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// ErrOutboxFull means that NATS has been away for so long that an event was dropped. The
// caller publishes it again as long as it is so.
var ErrOutboxFull = errors.New("too many events wait for NATS")

// outbox publishes what it is given in that order, each until NATS has it. Where much waits,
// requests go first: they must not wait behind thousands of notices.
type outbox struct {
	bus  *Bus
	link *link

	mu    sync.Mutex
	queue []letter
	ids   map[string]bool // of the queue: what waits already need not wait twice
	more  chan struct{}
	full  bool // said once
}

type letter struct {
	id, subject string
	raw         []byte
	request     bool
}

const (
	// inOrder is how many letters may wait before a request is put in front of them.
	inOrder = 16
	// forRequests is for how many requests there is room beside what else waits.
	forRequests = 64
)

func newOutbox(b *Bus, l *link) *outbox {
	return &outbox{bus: b, link: l, ids: map[string]bool{}, more: make(chan struct{}, 1)}
}

func (o *outbox) add(e event.Event, raw []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ids[e.ID] {
		return nil
	}
	request, room := e.Type == event.TypeRotationRequested, o.bus.config.tuning.outbox
	if request {
		room += forRequests
	}
	if len(o.queue) >= room {
		o.bus.counters.overflowed.Add(1)
		if !o.full {
			o.link.log.Warn("events are dropped until NATS is back; what is still so will be told again", "waiting", len(o.queue))
		}
		o.full = true
		return fmt.Errorf("publish %s of %q: %w", e.Type, e.Subject, ErrOutboxFull)
	}
	at := len(o.queue)
	if request && at > inOrder {
		// Not before the first, which may be on its way.
		at = 1 + slices.IndexFunc(o.queue[1:], func(l letter) bool { return !l.request })
		if at == 0 {
			at = len(o.queue)
		}
	}
	o.queue = slices.Insert(o.queue, at, letter{id: e.ID, subject: Subject(e), raw: raw, request: request})
	o.ids[e.ID] = true
	select {
	case o.more <- struct{}{}:
	default:
	}
	return nil
}

func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.queue)
}

func (o *outbox) head() (letter, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) == 0 {
		o.full = false
		return letter{}, false
	}
	return o.queue[0], true
}

func (o *outbox) drop() {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.ids, o.queue[0].id)
	o.queue[0] = letter{}
	if o.queue = o.queue[1:]; len(o.queue) == 0 {
		o.queue = nil // its array goes with it
	}
}

func (o *outbox) run() {
	const shortest = 50 * time.Millisecond
	ctx, wait, failures := o.bus.ctx, shortest, 0
	for ctx.Err() == nil {
		next, ok := o.head()
		if !ok {
			select {
			case <-o.more:
			case <-ctx.Done():
			}
			continue
		}
		up, down := o.link.state()
		if down != nil {
			pause(ctx, time.Minute, up)
			continue
		}
		err := o.send(ctx, next)
		switch {
		case err == nil:
			o.drop()
			wait, failures = shortest, 0
			continue
		case hopeless(err):
			o.bus.counters.refused.Add(1)
			o.link.log.Error("event not published", "subject", next.subject, "id", next.id, "error", err)
			o.drop()
			continue
		case missing(err):
			o.bus.ready.lookAgain()
		}
		failures++
		o.bus.storeFailed(err, failures)
		o.link.log.Debug("event not published yet", "subject", next.subject, "error", err)
		pause(ctx, wait, up)
		wait = min(2*wait, 5*time.Second)
	}
}

func (o *outbox) send(ctx context.Context, l letter) error {
	msg := nats.NewMsg(l.subject)
	msg.Data = l.raw
	msg.Header.Set("Content-Type", event.ContentType)
	ctx, cancel := context.WithTimeout(ctx, o.bus.config.tuning.request)
	defer cancel()
	ctx, cause := o.link.deniable(ctx, func(subject string) bool { return subject == l.subject })
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

// hopeless tells what no repetition mends; it must not hold up what follows.
func hopeless(err error) bool {
	if errors.Is(err, errDenied) || errors.Is(err, nats.ErrMaxPayload) {
		return true
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && api.ErrorCode == codeTooLarge
}

// codeTooLarge: the message is larger than its stream allows.
const codeTooLarge jetstream.ErrorCode = 10054
