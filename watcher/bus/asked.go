package bus

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// AskedStream is the name of the stream of requests of other clusters.
func AskedStream(cluster string) string { return askedStreamPrefix + shortToken(cluster) }

// askedSubject is the subject on which one cluster asks another.
func askedSubject(cluster, asking string) string {
	return askedRoot + ".v1." + NameToken(cluster) + "." + asking
}

// askedStream is a work queue, as that of reports of compromised keys.
func askedStream(cluster string, replicas int) stream {
	return stream{
		subject: askedSubject(cluster, "*"), minAge: askedMaxWait,
		StreamConfig: jetstream.StreamConfig{
			Name: AskedStream(cluster), Description: "rotations that other clusters ask for", Subjects: []string{askedSubject(cluster, "*")},
			Storage: jetstream.FileStorage, Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew,
			MaxMsgs: askedMaxMsgs, MaxMsgsPerSubject: -1, MaxConsumers: -1, MaxAge: time.Hour, MaxBytes: askedMaxBytes, MaxMsgSize: askedMaxSize,
			Duplicates: time.Hour, Replicas: max(1, replicas), AllowDirect: true,
		},
	}
}

func askedConsumer(cluster string, ackWait time.Duration) consumer {
	return consumer{
		stream: AskedStream(cluster), deliveries: maxRequestDeliveries,
		filtered: func(f []string) bool { return len(f) == 0 || coversSubject(askedSubject(cluster, "*"), f) },
		ConsumerConfig: jetstream.ConsumerConfig{
			Durable: ConsumerAsked, AckPolicy: jetstream.AckExplicitPolicy, ReplayPolicy: jetstream.ReplayInstantPolicy,
			DeliverPolicy: jetstream.DeliverAllPolicy, FilterSubject: askedSubject(cluster, "*"), AckWait: ackWait, MaxDeliver: -1,
		},
	}
}

// ReceiveAsked passes every rotation.asked of other clusters to a handler, one at a time, until the
// context or the bus ends. Where NATS forbids the stream, the reason is logged once, and events are
// not affected. Only the leader should call it.
func (b *Bus) ReceiveAsked(ctx context.Context, handle Handler) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(b.ctx, cancel)()
	c := consumption{bus: b, stream: AskedStream(b.config.Cluster), name: ConsumerAsked, most: maxRequestDeliveries, age: askedMaxWait,
		expect: event.TypeRotationAsked, verify: checkAsking, handle: handle}
	logged := ""
	for b.WaitReady(ctx) == nil {
		err := b.declareStream(ctx, askedStream(b.config.Cluster, b.config.Replicas))
		if err == nil {
			err = b.declareConsumer(ctx, askedConsumer(b.config.Cluster, b.config.tuning.ackWait))
		}
		if err == nil {
			logged = ""
			err = c.fetchLoop(ctx)
		}
		if err != nil && ctx.Err() == nil && err.Error() != logged {
			b.config.Log.Warn("requests of other clusters are not received, trying again", "error", err)
			logged = err.Error()
		}
		_ = wait.SleepFor(ctx, b.config.tuning.watch)
	}
	return ctx.Err()
}

// checkAsking refuses a request in the name of another cluster than that of its publisher.
func checkAsking(subject string, e event.Event) error {
	asked, _ := e.Data.(event.RotationAsked)
	if !strings.HasSuffix(subject, "."+NameToken(asked.Cluster)) {
		return fmt.Errorf("%w: asked in the name of cluster %q on the subject %q", ErrPoison, asked.Cluster, subject)
	}
	return nil
}

// AskRotation asks for a rotation in another cluster, and returns the id of the request once NATS
// has stored it. The watcher there decides.
func (b *Bus) AskRotation(ctx context.Context, cluster string, asked event.RotationAsked) (string, error) {
	if b.fleet == nil {
		return "", errNotRead
	}
	asked.Cluster = b.config.Cluster
	e := event.New(cluster, b.config.Now(), asked)
	e.ID = rand.Text()
	raw, err := e.MarshalJSON()
	if err == nil {
		_, err = event.ParseEvent(raw)
	}
	if err != nil {
		return "", fmt.Errorf("ask cluster %q for a rotation: %w", cluster, err)
	}
	msg := nats.NewMsg(askedSubject(cluster, NameToken(b.config.Cluster)))
	msg.Data = raw
	msg.Header.Set("Content-Type", event.ContentType)
	ctx, cancel := context.WithTimeout(ctx, b.config.tuning.request)
	defer cancel()
	ctx, cause := b.fleet.withDenial(ctx, func(subject string) bool { return subject == msg.Subject })
	_, err = b.fleet.jetStream().PublishMsg(ctx, msg, jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(AskedStream(cluster)))
	if err = cause(err); err != nil {
		return "", fmt.Errorf("ask cluster %q for a rotation: %w", cluster, err)
	}
	return e.ID, nil
}
