// Package monitoring checks what deploy/monitoring has for Prometheus and Grafana, with
// Prometheus' own packages. It is a module of its own: these are large.
package monitoring

import (
	"encoding/json"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

const root = "../../"

var expressions = parser.NewParser(parser.Options{})

func read(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(root + path)
	require.NoError(t, err)
	return content
}

// rules are those of the PrometheusRule, as promtool checks them.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	var object struct {
		Kind string
		Spec map[string]any
	}
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/monitoring/prometheusrule.yaml"), &object))
	require.Equal(t, "PrometheusRule", object.Kind)
	spec, err := yaml.Marshal(object.Spec)
	require.NoError(t, err)
	groups, errs := rulefmt.Parse(spec, false, model.LegacyValidation, expressions, slog.New(slog.DiscardHandler))
	require.Empty(t, errs)
	var all []rulefmt.Rule
	for _, g := range groups.Groups {
		all = append(all, g.Rules...)
	}
	require.NotEmpty(t, all)
	return all
}

// documented are the metrics that docs/metrics.md lists, by name: their types and labels.
func documented(t *testing.T) map[string]metric {
	t.Helper()
	all := map[string]metric{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)` \\| (gauge|counter|histogram) \\| (.*?) \\|").FindAllStringSubmatch(string(read(t, "docs/metrics.md")), -1) {
		m := metric{}
		for _, l := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[3], -1) {
			m.labels = append(m.labels, l[1])
		}
		names := []string{row[1]}
		if row[2] == "histogram" {
			names = []string{row[1] + "_bucket", row[1] + "_sum", row[1] + "_count"}
			m.labels = append(m.labels, "le")
		}
		for _, name := range names {
			all[name] = m
		}
	}
	require.Greater(t, len(all), 20)
	return all
}

type metric struct{ labels []string }

// check parses an expression, and compares metrics and labels in it with the documentation.
func check(t *testing.T, all map[string]metric, where, expression string) {
	t.Helper()
	parsed, err := expressions.ParseExpr(expression)
	require.NoError(t, err, where)
	used := 0
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		selector, ok := node.(*parser.VectorSelector)
		if !ok {
			return nil
		}
		used++
		m, listed := all[selector.Name]
		assert.True(t, listed, "%s: docs/metrics.md does not list %q", where, selector.Name)
		for _, matcher := range selector.LabelMatchers {
			assert.True(t, matcher.Name == model.MetricNameLabel || slices.Contains(m.labels, matcher.Name), "%s: %s has no label %q", where, selector.Name, matcher.Name)
		}
		return nil
	})
	assert.NotZero(t, used, where)
}

func TestRules(t *testing.T) {
	all, runbook := documented(t), string(read(t, "docs/alerts.md"))
	for _, rule := range rules(t) {
		check(t, all, rule.Alert, rule.Expr)
		assert.Contains(t, []string{"warning", "critical"}, rule.Labels["severity"], rule.Alert)
		assert.NotEmpty(t, rule.Annotations["summary"], rule.Alert)
		assert.NotEmpty(t, rule.Annotations["description"], rule.Alert)
		assert.True(t, strings.HasSuffix(rule.Annotations["runbook_url"], "/docs/alerts.md#"+strings.ToLower(rule.Alert)), rule.Alert)
		assert.Contains(t, runbook, "\n## "+rule.Alert+"\n")
	}
	assert.Equal(t, len(rules(t)), strings.Count(runbook, "\n## "), "docs/alerts.md is about these alerts and no other")
}

// TestExporterFacts are the metrics and labels that the alerts and the dashboard of
// x509-certificate-exporter 4 use of files.
func TestExporterFacts(t *testing.T) {
	all := documented(t)
	for name, used := range map[string][]string{
		"x509_cert_not_after":      {"filename", "filepath", "embedded_kind", "embedded_key", "serial_number", "subject_*", "issuer_*"},
		"x509_cert_not_before":     {"filepath"},
		"x509_cert_expired":        {"filepath"},
		"x509_cert_error":          {"filepath"},
		"x509_source_up":           {"source_kind", "source_name"},
		"x509_source_errors_total": {"source_kind", "source_name", "reason"},
	} {
		require.Contains(t, all, name)
		assert.Subset(t, all[name].labels, used, name)
	}
}

func TestDashboard(t *testing.T) {
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	require.NoError(t, json.Unmarshal(read(t, "deploy/monitoring/grafana-dashboard.json"), &dashboard))
	require.NotEmpty(t, dashboard.Panels)
	all := documented(t)
	for _, panel := range dashboard.Panels {
		require.NotEmpty(t, panel.Targets, panel.Title)
		for _, target := range panel.Targets {
			check(t, all, panel.Title, target.Expr)
		}
	}
}

// TestPodMonitorSelectsTheWatcher by the labels and the port's name that "install" gives.
func TestPodMonitorSelectsTheWatcher(t *testing.T) {
	var monitor struct {
		Kind     string
		Metadata struct{ Namespace string }
		Spec     struct {
			Selector            struct{ MatchLabels map[string]string }
			PodMetricsEndpoints []struct {
				Port, Path, Scheme string
				Authorization      struct {
					Credentials struct{ Name, Key string }
				}
			}
		}
	}
	require.NoError(t, yaml.Unmarshal(read(t, "deploy/monitoring/podmonitor.yaml"), &monitor))
	require.Equal(t, "PodMonitor", monitor.Kind)
	require.Len(t, monitor.Spec.PodMetricsEndpoints, 1)
	template, ports := watcher(t, monitor.Metadata.Namespace)
	for name, value := range monitor.Spec.Selector.MatchLabels {
		assert.Equal(t, value, template[name], name)
	}
	assert.Contains(t, ports, monitor.Spec.PodMetricsEndpoints[0].Port)
	assert.Equal(t, []string{"/metrics", "https"}, []string{monitor.Spec.PodMetricsEndpoints[0].Path, monitor.Spec.PodMetricsEndpoints[0].Scheme})
	credentials := monitor.Spec.PodMetricsEndpoints[0].Authorization.Credentials
	assert.Equal(t, "token", credentials.Key)
	assert.Contains(t, string(read(t, "deploy/monitoring/reader.yaml")), "kind: Secret\nmetadata:\n  name: "+credentials.Name+"\n  namespace: "+monitor.Metadata.Namespace+"\n")
}

// watcher returns the labels and the names of the ports of the watcher's pods.
func watcher(t *testing.T, namespace string) (template map[string]string, ports []string) {
	t.Helper()
	for _, document := range strings.Split(string(read(t, "plugin/manifests/testdata/embedded.yaml")), "\n---\n") {
		var deployment struct {
			Kind     string
			Metadata struct{ Namespace, Name string }
			Spec     struct {
				Template struct {
					Metadata struct{ Labels map[string]string }
					Spec     struct {
						Containers []struct{ Ports []struct{ Name string } }
					}
				}
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(document), &deployment))
		if deployment.Kind != "Deployment" {
			continue
		}
		require.Equal(t, deployment.Metadata.Namespace, namespace)
		for _, container := range deployment.Spec.Template.Spec.Containers {
			for _, port := range container.Ports {
				ports = append(ports, port.Name)
			}
		}
		return deployment.Spec.Template.Metadata.Labels, ports
	}
	t.Fatal("there is no Deployment")
	return nil, nil
}
