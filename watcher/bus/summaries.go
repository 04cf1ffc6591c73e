package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// readsAtOnce is how many summaries are requested at the same time: hundreds, one after the other,
// take seconds over a slow link.
const readsAtOnce = 16

// kvOperation is the header of a message that marks a key of a bucket as deleted.
const kvOperation = "KV-Operation"

// errNotRead means that the bus was opened without Config.ReadSummaries.
var errNotRead = errors.New("summaries of other clusters are not read by this watcher")

// StoredSummary is the summary of a cluster as it is in the bucket. Another cluster wrote it, so it
// is not trusted.
type StoredSummary struct {
	Token   string    // of the cluster's name, see [NameToken]; NATS lets only that cluster write it
	Value   []byte    // empty: it is larger than a summary may be
	Written time.Time // by the clock of NATS
}

// PutSummary replaces the summary of this cluster in the bucket, which is created if it is missing.
// An error has no effect on events.
func (b *Bus) PutSummary(ctx context.Context, value []byte) error {
	if _, down := b.reporter.connectionState(); down != nil {
		return fmt.Errorf("write the summary of cluster %q to NATS: %w", b.config.Cluster, down)
	}
	ctx, cancel := context.WithTimeout(ctx, b.config.tuning.request)
	defer cancel()
	ctx, cause := b.reporter.withDenial(ctx, func(subject string) bool { return strings.Contains(subject, summaryBucket) })
	err := cause(b.putSummary(ctx, value))
	if err == nil {
		return nil
	}
	return fmt.Errorf("write the summary of cluster %q to NATS: %w", b.config.Cluster, err)
}

func (b *Bus) putSummary(ctx context.Context, value []byte) error {
	bucket, err := b.reporter.jetStream().KeyValue(ctx, summaryBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		if err := b.createBucket(ctx); err != nil {
			return err
		}
		bucket, err = b.reporter.jetStream().KeyValue(ctx, summaryBucket)
	}
	if err != nil {
		return err
	}
	if err := checkBucket(ctx, bucket); err != nil {
		return err
	}
	_, err = bucket.Put(ctx, NameToken(b.config.Cluster), value)
	return err
}

// createBucket creates the bucket as the rotator, which creates the streams, too.
func (b *Bus) createBucket(ctx context.Context) error {
	want := declaredBucket(b.config.Replicas)
	request, cause := b.rotator.withDenial(ctx, b.matchesCall("STREAM.CREATE", want.Name))
	_, err := b.rotator.jetStream().CreateStream(request, want)
	if err = cause(err); err != nil {
		return hint.AddTo(fmt.Errorf("create stream %q: %w", want.Name, err),
			"let the rotator create it, or do it once as a user without limits: %s", streamCommand(want))
	}
	b.config.Log.Info("stream created", "stream", want.Name)
	return nil
}

// checkBucket refuses a bucket in which a cluster could remove the summaries of others: a message
// with a roll-up header replaces all messages of its stream.
func checkBucket(ctx context.Context, bucket jetstream.KeyValue) error {
	status, err := bucket.Status(ctx)
	if err != nil {
		return err
	}
	have, known := status.(*jetstream.KeyValueBucketStatus)
	if !known || !have.StreamInfo().Config.AllowRollup {
		return nil
	}
	want := declaredBucket(1)
	return hint.AddTo(fmt.Errorf("stream %q does not comply: roll-up headers is allowed, not denied", want.Name),
		"remove it and create it again: %s", streamCommand(want))
}

// ReadSummaries returns the summaries of all clusters, sorted by token. It creates no consumer: a
// consumer delivers to subjects to which its creator may not publish.
func (b *Bus) ReadSummaries(ctx context.Context) ([]StoredSummary, error) {
	if b.fleet == nil {
		return nil, errNotRead
	}
	if _, down := b.fleet.connectionState(); down != nil {
		return nil, fmt.Errorf("read the summaries of other clusters from NATS: %w", down)
	}
	ctx, cancel := context.WithTimeout(ctx, b.config.tuning.request)
	defer cancel()
	ctx, cause := b.fleet.withDenial(ctx, func(string) bool { return true })
	out, err := readBucket(ctx, b.fleet.jetStream())
	switch err = cause(err); {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, nil // no cluster has written a summary
	case err != nil:
		return nil, fmt.Errorf("read the summaries of other clusters from NATS: %w", err)
	}
	return out, nil
}

func readBucket(ctx context.Context, js jetstream.JetStream) ([]StoredSummary, error) {
	stream, err := js.Stream(ctx, summaryStream)
	if err != nil {
		return nil, err
	}
	return readSummaries(ctx, stream)
}

// readSummaries returns what a bucket's stream holds, sorted by token.
func readSummaries(ctx context.Context, stream jetstream.Stream) ([]StoredSummary, error) {
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(summarySubjects+"*"))
	if err != nil {
		return nil, err
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for subject := range info.State.Subjects {
		subjects = append(subjects, subject)
	}
	slices.Sort(subjects)
	subjects = subjects[:min(len(subjects), maxClusters)]
	found := make([]*StoredSummary, len(subjects))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readsAtOnce)
	for i, subject := range subjects {
		g.Go(func() error {
			var err error
			found[i], err = readSummary(ctx, stream, subject)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var out []StoredSummary
	for _, one := range found {
		if one != nil {
			out = append(out, *one)
		}
	}
	return out, nil
}

// readSummary returns the summary that a subject holds; nil: it was removed.
func readSummary(ctx context.Context, stream jetstream.Stream, subject string) (*StoredSummary, error) {
	kept, err := stream.GetLastMsgForSubject(ctx, subject)
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound):
		return nil, nil // meanwhile
	case err != nil:
		return nil, err
	case kept.Header.Get(kvOperation) != "":
		return nil, nil
	}
	one := &StoredSummary{Token: strings.TrimPrefix(subject, summarySubjects), Written: kept.Time}
	if len(kept.Data) <= SummaryMaxSize {
		one.Value = kept.Data
	}
	return one, nil
}
