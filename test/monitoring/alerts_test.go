package monitoring

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// healthy is what two watchers show for 4 hours, a sample each minute. What is about the
// cluster comes from the leader, which was b for the first hour and then is a.
var healthy = map[string]string{
	`rotate_certs_leader{pod="a"}`:                                              "0x60 1x180",
	`rotate_certs_leader{pod="b"}`:                                              "1x60 0x180",
	`rotate_certs_policy_valid{pod="a"}`:                                        "1x240",
	`rotate_certs_policy_valid{pod="b"}`:                                        "1x240",
	`rotate_certs_nats_ready{pod="a"}`:                                          "1x240",
	`rotate_certs_nats_ready{pod="b"}`:                                          "1x240",
	`rotate_certs_events_dropped_total{pod="a",reason="OutboxFull"}`:            "7x240",
	`rotate_certs_agents_missing{pod="a"}`:                                      "_x60 0x180",
	`rotate_certs_manual_interventions_required{pod="a"}`:                       "_x60 0x180",
	`rotate_certs_compromised_certificates_open{pod="a"}`:                       "_x60 0x180",
	`rotate_certs_last_decision_timestamp_seconds{pod="a"}`:                     "_x60 3600+60x180",
	`rotate_certs_certificates_waiting{pod="a",reason="Window"}`:                "_x60 5x180",
	earliest + `{pod="a",reason="Window"}`:                                      "_x60 1000000x180", // in more than 11 days
	earliest + `{pod="a",reason="NotifyOnly"}`:                                  "_x60 20000x180",
	`rotate_certs_rotations_total{pod="a",result="ManualInterventionRequired"}`: "0x240",
}

const earliest = "rotate_certs_certificates_earliest_expiry_timestamp_seconds"

// firing are the alerts of which an expression has a result at the end of the 4 hours.
func firing(t *testing.T, changes map[string]string) (names []string) {
	t.Helper()
	series := maps.Clone(healthy)
	maps.Copy(series, changes)
	var load strings.Builder
	load.WriteString("load 1m\n")
	for _, name := range slices.Sorted(maps.Keys(series)) {
		if series[name] != "" {
			load.WriteString("  " + name + " " + series[name] + "\n")
		}
	}
	storage := promqltest.LoadedStorage(t, load.String())
	t.Cleanup(func() { _ = storage.Close() })
	engine := promqltest.NewTestEngine(t, false, 5*time.Minute, promqltest.DefaultMaxSamplesPerQuery)
	for _, rule := range rules(t) {
		query, err := engine.NewInstantQuery(t.Context(), storage, promql.NewPrometheusQueryOpts(false, 0, nil), rule.Expr, time.Unix(0, 0).Add(4*time.Hour))
		require.NoError(t, err, rule.Alert)
		result := query.Exec(t.Context())
		require.NoError(t, result.Err, rule.Alert)
		vector, err := result.Vector()
		require.NoError(t, err, rule.Alert)
		if len(vector) > 0 {
			names = append(names, rule.Alert)
		}
		query.Close()
	}
	return names
}

func TestAlerts(t *testing.T) {
	assert.Empty(t, firing(t, nil), "a healthy cluster")
	tested := map[string]bool{}
	for _, c := range []struct {
		name, alert string
		changes     map[string]string
	}{
		{"a certificate waits for its window, 3 days before it expires", "CertificateExpiresSoon", map[string]string{earliest + `{pod="a",reason="Window"}`: "_x60 259200x180"}},
		{"a certificate has expired", "CertificateExpiresSoon", map[string]string{earliest + `{pod="a",reason="NodeUnavailable"}`: "_x60 100x180"}},
		{"renewals are stopped", "Stopped", map[string]string{`rotate_certs_certificates_waiting{pod="a",reason="Stopped"}`: "_x60 2x180"}},
		{"they are tried just now", "Stopped", map[string]string{`rotate_certs_certificates_waiting{pod="a",reason="Stopped"}`: "_x60 2x160 _x20"}},
		{"an operator must repair a node", "ManualInterventionRequired", map[string]string{`rotate_certs_manual_interventions_required{pod="a"}`: "_x60 1x180"}},
		{"compromised keys are in use", "CompromisedKeysInUse", map[string]string{`rotate_certs_compromised_certificates_open{pod="a"}`: "_x60 1x180"}},
		{"only the standby has an invalid policy", "PolicyInvalid", map[string]string{`rotate_certs_policy_valid{pod="b"}`: "1x60 0x180"}},
		{"NATS is unavailable", "NATSDisconnected", map[string]string{`rotate_certs_nats_ready{pod="a"}`: "1x200 0x40", `rotate_certs_nats_ready{pod="b"}`: "1x200 0x40"}},
		{"no watcher leads", "NoLeader", map[string]string{`rotate_certs_leader{pod="a"}`: "0x240"}},
		{"no watcher is there", "NoLeader", map[string]string{`rotate_certs_leader{pod="a"}`: "", `rotate_certs_leader{pod="b"}`: ""}},
		{"nothing is decided", "NoDecision", map[string]string{`rotate_certs_last_decision_timestamp_seconds{pod="a"}`: "_x60 3600x180"}},
		{"nothing is decided since it leads", "NoDecision", map[string]string{`rotate_certs_last_decision_timestamp_seconds{pod="a"}`: "_x60 0x180"}},
		{"an agent is missing", "AgentsMissing", map[string]string{`rotate_certs_agents_missing{pod="a"}`: "_x60 3x180"}},
		{"events are dropped", "EventsDropped", map[string]string{`rotate_certs_events_dropped_total{pod="a",reason="OutboxFull"}`: "7x220 8x20"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tested["RotateCerts"+c.alert] = true
			assert.Equal(t, []string{"RotateCerts" + c.alert}, firing(t, c.changes))
		})
	}
	for _, rule := range rules(t) {
		assert.True(t, tested[rule.Alert], "%s is never seen to fire", rule.Alert)
	}
}
