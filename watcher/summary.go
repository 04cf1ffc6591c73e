package watcher

import (
	"context"
	"encoding/json"
	"log/slog"
	"reflect"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/version"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/metrics"
)

// summaryWriter shares the summary of the cluster with others by NATS. Nothing depends on it.
type summaryWriter struct {
	summarize func() (v1alpha1.ClusterSummary, bool) // false: not known yet
	put       func(ctx context.Context, value []byte) error
	log       *slog.Logger
	now       func() time.Time

	last    v1alpha1.ClusterSummary // that was written
	failure string                  // that was logged
	stored  atomic.Bool             // the last write succeeded
}

// writeLoop writes until ctx ends.
func (s *summaryWriter) writeLoop(ctx context.Context) error {
	for {
		s.writeIfNeeded(ctx)
		if err := wait.SleepFor(ctx, 5*time.Second); err != nil {
			return nil //nolint:nilerr // the watcher ends
		}
	}
}

// writeIfNeeded writes a summary that has changed, or that is old. A failure is logged once.
func (s *summaryWriter) writeIfNeeded(ctx context.Context) {
	summary, known := s.summarize()
	if !known {
		return
	}
	summary.WrittenAt = s.now().UTC().Truncate(time.Second)
	same := s.last
	same.WrittenAt = summary.WrittenAt
	if reflect.DeepEqual(same, summary) && summary.WrittenAt.Sub(s.last.WrittenAt) < v1alpha1.SummaryHeartbeat {
		return
	}
	value, err := json.Marshal(summary)
	if err == nil {
		err = s.put(ctx, value)
	}
	if ctx.Err() != nil {
		return
	}
	s.stored.Store(err == nil)
	if err != nil {
		if s.failure != err.Error() {
			s.log.Warn("the summary of the cluster is not shared, trying again", "error", err)
		}
		s.failure = err.Error()
		return
	}
	if s.failure != "" {
		s.log.Info("the summary of the cluster is shared again")
	}
	s.failure = ""
	s.last = summary
}

// summarizeCluster is the summary of a cluster, without the time of writing.
func summarizeCluster(name string, c metrics.Cluster, rotations []v1alpha1.CertificateRotation, now time.Time) v1alpha1.ClusterSummary {
	out := v1alpha1.ClusterSummary{
		APIVersion: v1alpha1.APIVersion, Kind: v1alpha1.ClusterSummaryKind, Cluster: name, WatcherVersion: version.Version,
		State: v1alpha1.ClusterOK, EarliestExpiry: map[certs.Service]time.Time{},
	}
	problems := int32(0)
	reports := 0
	expired := false
	if c.Reports != nil {
		for report := range c.Reports {
			reports++
			problems += report.Summary.Problems
			for i := range report.Certificates {
				addExpiry(out.EarliestExpiry, &report.Certificates[i])
			}
		}
	}
	for _, at := range out.EarliestExpiry {
		expired = expired || !now.Before(at)
	}
	unreported := reports == 0
	for _, reported := range c.Agents {
		unreported = unreported || !reported
	}
	switch {
	case c.Interventions > 0:
		out.State = v1alpha1.ClusterManualInterventionRequired
	case expired:
		out.State = v1alpha1.ClusterExpired
	case problems > 0:
		out.State = v1alpha1.ClusterProblems
	case c.Due > 0:
		out.State = v1alpha1.ClusterDue
	case unreported:
		out.State = v1alpha1.ClusterUnknown
	}
	for i := range rotations {
		state := rotations[i].State()
		if state == v1alpha1.StateRunning || state == v1alpha1.StateInterrupted {
			out.Rotation = &v1alpha1.SummaryRotation{Name: rotations[i].Name, ID: rotations[i].Status.RotationID}
			break
		}
	}
	return out
}

// addExpiry adds a certificate that can be parsed to the earliest of its service.
func addExpiry(to map[certs.Service]time.Time, c *v1alpha1.ReportedCertificate) {
	at := c.NotAfter.Time
	if at.IsZero() {
		return
	}
	if first, has := to[c.Service]; !has || at.Before(first) {
		to[c.Service] = at.UTC()
	}
}

// takeSummary is the summary of the cluster now; false: not decided yet, so that due certificates
// are not known.
func (o *observer) takeSummary(name string) (v1alpha1.ClusterSummary, bool) {
	c := o.clusterSnapshot()
	if c.Decided.IsZero() {
		return v1alpha1.ClusterSummary{}, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), wait.AttemptTimeout)
	defer cancel()
	var rotations v1alpha1.CertificateRotationList
	if err := o.objects.List(ctx, &rotations, client.UnsafeDisableDeepCopy); err != nil {
		return v1alpha1.ClusterSummary{}, false
	}
	out := summarizeCluster(name, c, rotations.Items, o.now())
	if out.Rotation == nil && o.holder != nil {
		out.Rotation = o.rotationByHand(ctx)
	}
	if o.answers != nil {
		out.Answers = o.answers(rotations.Items)
	}
	return out, true
}

// rotationByHand is the rotation that holds the cluster's lock, unless it is one of the watcher: its
// CertificateRotation shows that. Where the lock cannot be read, what was read last counts until it
// ends: a rotation itself restarts the API server. nil: there is none.
func (o *observer) rotationByHand(ctx context.Context) *v1alpha1.SummaryRotation {
	held, err := o.holder(ctx)
	if err != nil {
		held = o.held
	}
	o.held = held
	if held == nil || !o.now().Before(held.Until) {
		return nil
	}
	who, rotation := held.SplitHolder()
	if who == lockHolder {
		return nil
	}
	return &v1alpha1.SummaryRotation{ID: rotation[:min(len(rotation), 253)]}
}

// newSummaryWriter shares the summary while this watcher leads.
func (w *watcher) newSummaryWriter(seen *observer) *summaryWriter {
	return &summaryWriter{
		summarize: func() (v1alpha1.ClusterSummary, bool) { return seen.takeSummary(w.Bus.Cluster) },
		put:       w.bus.PutSummary, log: w.Log.With("part", "summary"), now: time.Now,
	}
}
