package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// readiness is whether streams and consumers exist and comply.
type readiness struct {
	mu     sync.Mutex
	why    error
	notify chan struct{}
	again  chan struct{}
}

func newReadiness() *readiness {
	return &readiness{why: errors.New("streams not checked yet"), notify: make(chan struct{}), again: make(chan struct{}, 1)}
}

func (r *readiness) currentError() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.why
}

func (r *readiness) changedSignal() <-chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.notify
}

func (r *readiness) setError(why error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.why = why
	close(r.notify)
	r.notify = make(chan struct{})
}

// requestCheck has streams and consumers checked again: one of them was missing.
func (r *readiness) requestCheck() {
	select {
	case r.again <- struct{}{}:
	default:
	}
}

// declareLoop creates or checks streams and consumers, and again after requestCheck.
func (b *Bus) declareLoop() {
	pause := 250 * time.Millisecond
	for b.ctx.Err() == nil {
		up, down := b.rotator.connectionState()
		err := down
		if down == nil {
			err = b.declareAll(b.ctx)
		}
		if old := b.ready.currentError(); err != nil && down == nil && (old == nil || old.Error() != err.Error()) {
			b.config.Log.Error("streams of NATS do not comply, trying again", "error", err)
		}
		b.ready.setError(err)
		switch {
		case down != nil:
			_ = wait.SleepOrWake(b.ctx, time.Minute, up)
		case err != nil:
			_ = wait.SleepOrWake(b.ctx, pause, up)
			pause = min(2*pause, 30*time.Second)
		default:
			pause = 250 * time.Millisecond
			select {
			case <-b.ready.again:
			case <-b.ctx.Done():
			}
		}
	}
}

func (b *Bus) declareAll(ctx context.Context) error {
	if b.embedded != nil {
		if err := b.removeOthers(ctx); err != nil {
			return fmt.Errorf("remove other streams from the embedded NATS server: %w", err)
		}
	}
	for _, want := range declaredStreams(b.config.Cluster, b.config.Replicas) {
		if err := b.declareStream(ctx, want); err != nil {
			return err
		}
	}
	for _, want := range declaredConsumers(b.config.Cluster, b.config.tuning.ackWait) {
		if err := b.declareConsumer(ctx, want); err != nil {
			return err
		}
	}
	return nil
}

// removeOthers removes other streams from the embedded server: those of an earlier release
// have the same subjects.
func (b *Bus) removeOthers(ctx context.Context) error {
	declared := declaredStreams(b.config.Cluster, 1)
	if b.config.ShareSummary {
		declared = append(declared, stream{StreamConfig: declaredBucket(1)}, askedStream(b.config.Cluster, 1))
	}
	found := b.rotator.jetStream().StreamNames(ctx)
	for name := range found.Name() {
		if slices.ContainsFunc(declared, func(s stream) bool { return s.Name == name }) {
			continue
		}
		if err := b.rotator.jetStream().DeleteStream(ctx, name); err != nil {
			return fmt.Errorf("remove stream %q: %w", name, err)
		}
		b.config.Log.Info("removed a stream of an earlier release or another cluster name", "stream", name)
	}
	if err := found.Err(); err != nil {
		return fmt.Errorf("list streams: %w", err)
	}
	return nil
}

func (b *Bus) declareStream(ctx context.Context, want stream) error {
	got, err := b.rotator.jetStream().Stream(ctx, want.Name)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		request, cause := b.rotator.withDenial(ctx, b.matchesCall("STREAM.CREATE", want.Name))
		_, err = b.rotator.jetStream().CreateStream(request, want.StreamConfig)
		if refused := (*jetstream.APIError)(nil); errors.As(err, &refused) && refused.ErrorCode == jetstream.ErrorCode(server.JSStreamSubjectOverlapErr) {
			return hint.AddTo(fmt.Errorf("create stream %q: %w", want.Name, err),
				"another stream has its subjects; if it is of an earlier release, remove it as a user without limits: nats stream ls --subject '%s'; nats stream rm NAME", want.Subjects[0])
		}
		if err = cause(err); err != nil {
			return hint.AddTo(fmt.Errorf("create stream %q: %w", want.Name, err),
				"let the rotator create it, or do it once as a user without limits: %s", streamCommand(want.StreamConfig))
		}
		b.config.Log.Info("stream created", "stream", want.Name)
		return nil
	case err != nil:
		return fmt.Errorf("read stream %q: %w", want.Name, err)
	}
	return b.correctStream(ctx, want, got.CachedInfo().Config)
}

// correctStream changes an existing stream that does not comply, if the rotator may.
func (b *Bus) correctStream(ctx context.Context, want stream, have jetstream.StreamConfig) error {
	fit, broken := fitStream(want, have)
	fit.Replicas = max(have.Replicas, want.Replicas)
	if len(broken) == 0 && fit.Replicas == have.Replicas {
		return nil
	}
	request, cause := b.rotator.withDenial(ctx, b.matchesCall("STREAM.UPDATE", want.Name))
	_, err := b.rotator.jetStream().UpdateStream(request, fit)
	switch err = cause(err); {
	case err == nil:
		b.config.Log.Info("stream changed", "stream", want.Name, "replicas", fit.Replicas, "because", broken)
		return nil
	case len(broken) == 0:
		b.config.Log.Warn("stream has fewer replicas than --nats-replicas", "stream", want.Name, "replicas", have.Replicas, "error", err)
		return nil
	}
	return hint.AddTo(fmt.Errorf("stream %q does not comply: %s (change it: %w)", want.Name, strings.Join(broken, ", "), err),
		"change it with \"nats stream edit\", or remove it and create it again: %s", streamCommand(want.StreamConfig))
}

func (b *Bus) declareConsumer(ctx context.Context, declared consumer) error {
	stream := declared.stream
	want := declared.ConsumerConfig
	got, err := b.rotator.jetStream().Consumer(ctx, stream, want.Durable)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		request, cause := b.rotator.withDenial(ctx, b.matchesCall("CONSUMER.CREATE", stream))
		if want.DeliverPolicy == jetstream.DeliverByStartTimePolicy {
			start := b.config.Now().Add(-startBack)
			want.OptStartTime = &start
		}
		_, err = b.rotator.jetStream().CreateConsumer(request, stream, want)
		if err = cause(err); err != nil {
			return hint.AddTo(fmt.Errorf("create consumer %q of stream %q: %w", want.Durable, stream, err),
				"let the rotator create it, or do it once as a user without limits: %s", consumerCommand(declared))
		}
		return nil
	case err != nil:
		return fmt.Errorf("read consumer %q of stream %q: %w", want.Durable, stream, err)
	}
	return b.correctConsumer(ctx, declared, got.CachedInfo().Config)
}

// correctConsumer does the same for a consumer.
func (b *Bus) correctConsumer(ctx context.Context, want consumer, have jetstream.ConsumerConfig) error {
	fit, broken := fitConsumer(want, have)
	if len(broken) == 0 {
		return nil
	}
	request, cause := b.rotator.withDenial(ctx, b.matchesCall("CONSUMER.CREATE", want.stream))
	_, err := b.rotator.jetStream().UpdateConsumer(request, want.stream, fit)
	if err = cause(err); err != nil {
		return hint.AddTo(fmt.Errorf("consumer %q of stream %q does not comply: %s (change it: %w)", want.Durable, want.stream, strings.Join(broken, ", "), err),
			"remove it and create it again: %s", consumerCommand(want))
	}
	b.config.Log.Info("consumer changed", "stream", want.stream, "consumer", want.Durable, "because", broken)
	return nil
}

// matchesCall matches the subject of a call to the JetStream API.
func (b *Bus) matchesCall(call, stream string) func(string) bool {
	exact := "API." + call + "." + stream
	return func(subject string) bool {
		// A server of the domain itself refuses the subject without the domain.
		rest, ok := strings.CutPrefix(subject, "$JS.")
		rest = strings.TrimPrefix(rest, b.config.Domain+".")
		return ok && (rest == exact || strings.HasPrefix(rest, exact+"."))
	}
}

// isMissing is true for an error that means that a stream or consumer does not exist.
func isMissing(err error) bool {
	return errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) ||
		errors.Is(err, jetstream.ErrConsumerDeleted) || errors.Is(err, jetstream.ErrNoStreamResponse) ||
		errors.Is(err, nats.ErrNoResponders)
}

// streamCommand is the command that creates a stream.
func streamCommand(c jetstream.StreamConfig) string {
	if c.MaxMsgsPerSubject == 1 {
		return fmt.Sprintf("nats stream add %s --subjects '%s' --storage file --retention limits --discard new --max-msgs-per-subject 1 --max-age %s --max-bytes %d --max-msg-size %d --deny-delete --deny-purge --allow-direct --defaults",
			c.Name, strings.Join(c.Subjects, ","), formatDays(c.MaxAge), c.MaxBytes, c.MaxMsgSize)
	}
	kept := "--retention limits --discard old"
	if c.Retention == jetstream.WorkQueuePolicy {
		kept = fmt.Sprintf("--retention work --discard new --max-msgs %d", c.MaxMsgs)
	}
	return fmt.Sprintf("nats stream add %s --subjects '%s' --storage file %s --max-age %s --max-bytes %d --max-msg-size %d --dupe-window %s --allow-direct --defaults",
		c.Name, strings.Join(c.Subjects, ","), kept, formatDays(c.MaxAge), c.MaxBytes, c.MaxMsgSize, formatDays(c.Duplicates))
}

// consumerCommand is the command that creates a consumer.
func consumerCommand(c consumer) string {
	from := "all"
	if c.DeliverPolicy == jetstream.DeliverByStartTimePolicy {
		from = "1h"
	}
	return fmt.Sprintf("nats consumer add %s %s --pull --deliver %s --ack explicit --filter '%s' --wait %s --defaults",
		c.stream, c.Durable, from, c.FilterSubject, c.AckWait)
}

// formatDays writes a duration in days, if it is whole days.
func formatDays(d time.Duration) string {
	if d%(24*time.Hour) != 0 {
		return d.String()
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}
