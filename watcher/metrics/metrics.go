// Package metrics has the metrics of the watcher for Prometheus.
//
// Metrics of certificates have the names and labels of x509-certificate-exporter, for which
// dashboards and alerts exist, and are written directly from the reports: a cluster of 10,000
// nodes has 200,000 certificates, which would take a gigabyte as objects of the client library
// at every scrape. The watcher's own metrics are "rotate_certs_*".
package metrics

import (
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/watcher/bus"
)

// Snapshot is the state of a watcher at one moment.
type Snapshot struct {
	Leader      bool // it decides and rotates
	PolicyValid bool
	NATSReady   bool // connected, and NATS has the streams
	Events      bus.Stats

	Cluster // only on the leader
}

// Cluster is the state of the cluster. Every watcher knows it, and only the leader reports it:
// otherwise every series would exist once for each watcher.
type Cluster struct {
	// Reports may be the objects of a cache: they are only read, several times. Nil: none.
	Reports iter.Seq[*v1alpha1.NodeCertificateReport]
	// SignedElsewhere reports whether another node can sign a certificate that its own node cannot;
	// nil: none can.
	SignedElsewhere func(node string, c *v1alpha1.ReportedCertificate) bool
	// Agents is true for each node whose agent has reported recently, and false for each other
	// node that should have one.
	Agents map[string]bool
	// OpenCompromised is the number of CompromisedCertificates whose keys are not all
	// replaced.
	OpenCompromised int
	// Interventions is the number of rotations after which an operator must repair a node.
	Interventions int
	// Due is how many certificates expire soon, have expired or are compromised.
	Due int
	// Waiting are the due certificates that no rotation replaces now, by reason, and as
	// "Starting" those whose rotation starts.
	Waiting map[string]Waiting
	// SummaryShared is whether the last summary for other clusters was written; nil: none is
	// shared.
	SummaryShared *bool
	// Decided is when the policy was last applied to all nodes; zero: not yet.
	Decided time.Time
}

// Waiting are due certificates that wait for the same reason.
type Waiting struct {
	Count    int
	Earliest time.Time // when the first of them expires
}

// Metrics is a [prometheus.Collector] of the watcher's own metrics; its Handler serves all
// metrics.
type Metrics struct {
	snapshot func() Snapshot
	options  Options
	sources  sources

	rotations *prometheus.CounterVec
	duration  prometheus.Histogram
}

// Options select the metrics.
type Options struct {
	// NoCertificates omits metrics with one sample for each certificate or node.
	NoCertificates bool
	Now            func() time.Time // nil: the real clock
}

// results are the values of the label "result", by the state in which a rotation ended.
var results = map[v1alpha1.RotationState]string{
	v1alpha1.StateSucceeded:                  "Succeeded",
	v1alpha1.StateRolledBack:                 "RolledBack",
	v1alpha1.StateFailed:                     "Failed",
	v1alpha1.StateManualInterventionRequired: "ManualInterventionRequired",
	v1alpha1.StateRefused:                    "Refused",
	v1alpha1.StateCanceled:                   "Canceled",
}

// New returns metrics of the state that snapshot returns at every scrape.
func New(snapshot func() Snapshot, options Options) *Metrics {
	if options.Now == nil {
		options.Now = time.Now
	}
	m := &Metrics{
		snapshot: snapshot, options: options, sources: sources{byNode: map[string]*source{}},
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rotate_certs_rotations_total", Help: "Rotations that this watcher ran, by result.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rotate_certs_rotation_duration_seconds", Help: "How long rotations took, from their lock to their end.",
			Buckets: []float64{5, 15, 30, 60, 120, 300, 600, 1800, 3600},
		}),
	}
	for _, result := range results { // so that the first increase is visible
		m.rotations.WithLabelValues(result)
	}
	return m
}

// RotationEnded counts a rotation.
func (m *Metrics) RotationEnded(state v1alpha1.RotationState, took time.Duration) {
	m.rotations.WithLabelValues(results[state]).Inc()
	m.duration.Observe(took.Seconds())
}

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	m.rotations.Describe(to)
	m.duration.Describe(to)
	for i := range table {
		to <- table[i].desc
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.rotations.Collect(to)
	m.duration.Collect(to)
	s := m.snapshot()
	for _, row := range table {
		if row.cluster && !s.Leader {
			continue
		}
		row.collect(&s, func(value float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(row.desc, row.kind, value, labels...)
		})
	}
}

func (c *Cluster) eachReport() iter.Seq[*v1alpha1.NodeCertificateReport] {
	if c.Reports == nil {
		return func(func(*v1alpha1.NodeCertificateReport) bool) {}
	}
	return c.Reports
}
