// Package metrics shows what the watcher knows, for Prometheus.
//
// Certificates have the names and labels of x509-certificate-exporter, which dashboards
// and alerts exist for, and are written straight from the reports: a cluster of 10,000
// nodes has 200,000 of them, and as objects of the client library they would take a
// gigabyte at every scrape. The watcher's own metrics are "rotate_certs_*".
package metrics

import (
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// Snapshot is what the watcher knows at one moment.
type Snapshot struct {
	// Reports may be the very objects of a cache: they are only read. They are gone
	// through several times. Nil: none.
	Reports iter.Seq[*v1alpha1.NodeCertificateReport]
	// AgentsMissing is the number of nodes without a report, or whose report is old.
	AgentsMissing int
	// OpenMarks is the number of CompromisedCertificates that still wait for something.
	OpenMarks int
	// Waiting is how many rotations are due and do not start, by reason.
	Waiting map[string]int
	// EventsPending is how many events were stored and not yet acted upon.
	EventsPending int
	// EventsGivenUp is how many requests and marks this watcher has given up.
	EventsGivenUp uint64
}

// Metrics are a [prometheus.Collector] of the watcher's own metrics, and by Handler all
// of them over HTTP.
type Metrics struct {
	snapshot func() Snapshot
	now      func() time.Time

	rotations *prometheus.CounterVec
	duration  prometheus.Histogram
	published *prometheus.CounterVec
}

// The results of a rotation, as in the status of CertificateRotations.
var results = []v1alpha1.RotationState{
	v1alpha1.StateSucceeded, v1alpha1.StateRolledBack, v1alpha1.StateFailed, v1alpha1.StateNeedsPerson, v1alpha1.StateRefused,
}

// New returns metrics of what snapshot returns, which is called at every scrape. now
// may be nil: the real clock.
func New(snapshot func() Snapshot, now func() time.Time) *Metrics {
	if now == nil {
		now = time.Now
	}
	m := &Metrics{
		snapshot: snapshot, now: now,
		rotations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rotate_certs_rotations_total", Help: "Rotations that this watcher carried out, by result.",
		}, []string{"result"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "rotate_certs_rotation_duration_seconds", Help: "How long rotations took, from their lock to their end.",
			Buckets: []float64{5, 15, 30, 60, 120, 300, 600, 1800, 3600},
		}),
		published: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "rotate_certs_events_published_total", Help: "Events that were stored in the stream, by type.",
		}, []string{"type"}),
	}
	for _, r := range results { // so that an increase from nothing is seen
		m.rotations.WithLabelValues(string(r))
	}
	return m
}

// RotationEnded counts a rotation.
func (m *Metrics) RotationEnded(result v1alpha1.RotationState, took time.Duration) {
	m.rotations.WithLabelValues(string(result)).Inc()
	m.duration.Observe(took.Seconds())
}

// EventPublished counts an event that was stored, by its CloudEvents type.
func (m *Metrics) EventPublished(kind string) { m.published.WithLabelValues(kind).Inc() }

// gauge is a metric that is read off a snapshot.
func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rotate_certs_"+name, help, labels, nil)
}

var (
	reports = gauge("reports", "NodeCertificateReports that the watcher knows.")
	missing = gauge("agents_missing", "Nodes without a fresh NodeCertificateReport.")
	marks   = gauge("compromised_certificates_open", "CompromisedCertificates whose keys are not all replaced.")
	waiting = gauge("rotations_waiting", "Rotations that are due and wait, by reason.", "reason")
	pending = gauge("events_pending", "Events that were stored and are not yet acted upon.")
	givenUp = gauge("events_given_up_total", "Requests and marks that this watcher has given up: not well-formed, too old, or not handled at their last delivery.")
	build   = gauge("build_info", "Which watcher this is; always 1.", "version", "commit")
)

// Describe implements [prometheus.Collector].
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	m.rotations.Describe(to)
	m.duration.Describe(to)
	m.published.Describe(to)
	for _, d := range []*prometheus.Desc{reports, missing, marks, waiting, pending, givenUp, build} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	m.rotations.Collect(to)
	m.duration.Collect(to)
	m.published.Collect(to)
	s := m.snapshot()
	count := 0
	for range s.each() {
		count++
	}
	show := func(d *prometheus.Desc, value int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	show(reports, count)
	show(missing, s.AgentsMissing)
	show(marks, s.OpenMarks)
	show(pending, s.EventsPending)
	to <- prometheus.MustNewConstMetric(givenUp, prometheus.CounterValue, float64(s.EventsGivenUp))
	for reason, n := range s.Waiting {
		show(waiting, n, reason)
	}
	show(build, 1, version.Version, version.GitCommit)
}

func (s Snapshot) each() iter.Seq[*v1alpha1.NodeCertificateReport] {
	if s.Reports == nil {
		return func(func(*v1alpha1.NodeCertificateReport) bool) {}
	}
	return s.Reports
}
