package bus

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// DeadLetter is an event that was given up.
type DeadLetter struct {
	Time       time.Time `json:"time"`
	Consumer   string    `json:"consumer"`
	Reason     string    `json:"reason"`
	Deliveries uint64    `json:"deliveries"`
	Sequence   uint64    `json:"sequence"` // in the stream of events
	// Subject and Message are the original's, where it is still there. Anybody who may publish
	// there may have written it; it is cut after 4 KiB.
	Subject string `json:"subject,omitempty"`
	Message string `json:"message,omitempty"`
}

const deadLetterShown = 4 << 10

// advisory is what the server tells of both kinds.
type advisory struct {
	Time       time.Time `json:"timestamp"`
	Consumer   string    `json:"consumer"`
	StreamSeq  uint64    `json:"stream_seq"`
	Deliveries uint64    `json:"deliveries"`
	Reason     string    `json:"reason"`
}

// DeadLetters lists what was given up since a time, oldest first.
func (b *Bus) DeadLetters(ctx context.Context, since time.Time) ([]DeadLetter, error) {
	out := []DeadLetter{}
	events, err := b.rotator.js.Stream(ctx, EventStream(b.config.Cluster))
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	err = b.read(ctx, DeadLetterStream(b.config.Cluster), since, false, func(msg jetstream.Msg) error {
		d, ok := readAdvisory(msg)
		if !ok {
			return nil
		}
		if original, err := events.GetMsg(ctx, d.Sequence); err == nil {
			d.Subject, d.Message = original.Subject, string(original.Data)
			if len(d.Message) > deadLetterShown {
				d.Message = d.Message[:deadLetterShown]
			}
			d.Message = strings.ToValidUTF8(d.Message, "�")
		}
		out = append(out, d)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	return out, nil
}

func readAdvisory(msg jetstream.Msg) (DeadLetter, bool) {
	var a advisory
	if json.Unmarshal(msg.Data(), &a) != nil {
		return DeadLetter{}, false
	}
	if strings.HasPrefix(msg.Subject(), advisoryRoot+"MAX_DELIVERIES.") {
		a.Reason = fmt.Sprintf("not handled in %d deliveries", a.Deliveries)
	}
	return DeadLetter{Time: a.Time, Consumer: a.Consumer, Reason: a.Reason, Deliveries: a.Deliveries, Sequence: a.StreamSeq}, true
}

// watchDeadLetters counts them as they come. The stream's own numbers are the count, which
// therefore knows those of earlier processes.
func (b *Bus) watchDeadLetters() {
	from := b.config.Now()
	for b.WaitReady(b.ctx) == nil {
		err := b.read(b.ctx, DeadLetterStream(b.config.Cluster), time.Time{}, true, func(msg jetstream.Msg) error {
			meta, err := msg.Metadata()
			if err != nil {
				return err
			}
			b.counters.dead.Store(meta.Sequence.Stream)
			if d, ok := readAdvisory(msg); ok && d.Time.After(from) {
				b.config.Log.Error("an event is a dead letter", "consumer", d.Consumer, "sequence", d.Sequence, "deliveries", d.Deliveries, "reason", d.Reason)
			}
			return nil
		})
		b.config.Log.Debug("dead letters interrupted", "error", err)
		pause(b.ctx, time.Second)
	}
}
