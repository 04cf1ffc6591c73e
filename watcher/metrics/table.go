package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// row is a metric whose value comes from a snapshot.
type row struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	// cluster means that it describes the cluster, so that only the leader has it.
	cluster bool
	collect func(s *Snapshot, show show)
}

// show adds a sample with label values.
type show func(value float64, labels ...string)

func newDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("rotate_certs_"+name, help, labels, nil)
}

func gaugeRow(name, help string, value func(s *Snapshot) float64) row {
	return row{desc: newDesc(name, help), kind: prometheus.GaugeValue, collect: func(s *Snapshot, show show) { show(value(s)) }}
}

func counterRow(name, help string, value func(s *Snapshot) uint64) row {
	return row{desc: newDesc(name, help), kind: prometheus.CounterValue, collect: func(s *Snapshot, show show) { show(float64(value(s))) }}
}

func clusterRow(name, help string, value func(c *Cluster) int) row {
	r := gaugeRow(name, help, func(s *Snapshot) float64 { return float64(value(&s.Cluster)) })
	r.cluster = true
	return r
}

func boolValue(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// table has the watcher's own metrics, except for those counted at the end of rotations.
var table = []row{
	{
		desc: newDesc("build_info", "Version of the watcher; always 1.", "version", "commit"), kind: prometheus.GaugeValue,
		collect: func(_ *Snapshot, show show) { show(1, version.Version, version.GitCommit) },
	},
	gaugeRow("leader", "1 on the watcher that leads, which decides and rotates; 0 on a standby.",
		func(s *Snapshot) float64 { return boolValue(s.Leader) }),
	gaugeRow("policy_valid", "1 if the RotationPolicy is valid, or there is none; 0 if it is invalid: the last valid policy remains in force, or, if there was none, the watcher is notify-only.",
		func(s *Snapshot) float64 { return boolValue(s.PolicyValid) }),

	gaugeRow("nats_connected", "1 while the watcher is connected to NATS.",
		func(s *Snapshot) float64 { return boolValue(s.Events.Connected) }),
	gaugeRow("nats_ready", "1 while events can be published and received: NATS is connected and has the streams.",
		func(s *Snapshot) float64 { return boolValue(s.NATSReady) }),
	gaugeRow("events_unpublished", "Events in memory that NATS has not stored yet.",
		func(s *Snapshot) float64 { return float64(s.Events.Waiting) }),
	gaugeRow("event_followers", "Clients that follow /events now.",
		func(s *Snapshot) float64 { return float64(s.Events.Followers) }),
	counterRow("events_published_total", "Events that NATS has stored for this watcher.",
		func(s *Snapshot) uint64 { return s.Events.Published }),
	counterRow("events_duplicate_total", "Published events that NATS had stored before. An event is published again as long as its cause remains.",
		func(s *Snapshot) uint64 { return s.Events.Duplicates }),
	counterRow("events_handled_total", "Received events that were handled.",
		func(s *Snapshot) uint64 { return s.Events.Handled }),
	counterRow("events_retried_total", "Received events that could not be handled and were put back, to be received again.",
		func(s *Snapshot) uint64 { return s.Events.Retried }),
	{
		desc: newDesc("events_dropped_total", "Events that are lost, by reason. Refused: NATS or the event's schema does not accept it. "+
			"OutboxFull: too many events were unpublished. GivenUp: received, and invalid or not handled at the last delivery.", "reason"),
		kind: prometheus.CounterValue,
		collect: func(s *Snapshot, show show) {
			show(float64(s.Events.Refused), "Refused")
			show(float64(s.Events.Overflowed), "OutboxFull")
			show(float64(s.Events.GivenUp), "GivenUp")
		},
	},

	clusterRow("reports", "NodeCertificateReports that the watcher knows.", func(c *Cluster) int {
		count := 0
		for range c.eachReport() {
			count++
		}
		return count
	}),
	clusterRow("agents_missing", "Nodes that should have an agent, and have no recent NodeCertificateReport.",
		func(c *Cluster) int {
			missing := 0
			for _, reported := range c.Agents {
				if !reported {
					missing++
				}
			}
			return missing
		}),
	clusterRow("compromised_certificates_open", "CompromisedCertificates whose keys are not all replaced.",
		func(c *Cluster) int { return c.OpenCompromised }),
	clusterRow("manual_interventions_required", "Rotations that ended with manual intervention required, without a later success on their failed nodes.",
		func(c *Cluster) int { return c.Interventions }),
	clusterRow("certificates_due", "Certificates that expire soon, have expired or are compromised, and are not replaced yet.",
		func(c *Cluster) int { return c.Due }),
	{
		desc: newDesc("certificates_waiting", "Certificates that are due and that no rotation replaces now, by reason. "+
			"Stopped: renewal failed too often and is tried only once a day. Starting: their rotation starts.", "reason"),
		kind: prometheus.GaugeValue, cluster: true,
		collect: func(s *Snapshot, show show) {
			for reason, w := range s.Waiting {
				show(float64(w.Count), reason)
			}
		},
	},
	{
		desc: newDesc("certificates_earliest_expiry_timestamp_seconds", "When the first of the due certificates expires, in seconds since 1970, by the reason for which they wait.", "reason"),
		kind: prometheus.GaugeValue, cluster: true,
		collect: func(s *Snapshot, show show) {
			for reason, w := range s.Waiting {
				show(float64(w.Earliest.Unix()), reason)
			}
		},
	},
	{
		desc: newDesc("summary_shared", "1 if NATS has stored the last summary of the cluster for others, 0 if not. Only with --share-summary."),
		kind: prometheus.GaugeValue, cluster: true,
		collect: func(s *Snapshot, show show) {
			if s.SummaryShared != nil {
				show(boolValue(*s.SummaryShared))
			}
		},
	},
	{
		desc: newDesc("last_decision_timestamp_seconds", "When the policy was last applied to all nodes, in seconds since 1970; 0: not since this watcher leads."),
		kind: prometheus.GaugeValue, cluster: true,
		collect: func(s *Snapshot, show show) {
			if s.Decided.IsZero() {
				show(0)
				return
			}
			show(float64(s.Decided.Unix()))
		},
	},
}
