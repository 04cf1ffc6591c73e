package metrics

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

const document = "../../docs/metrics.md"

// TestDocument compares docs/metrics.md with what the leader serves.
func TestDocument(t *testing.T) {
	old, err := os.ReadFile(document)
	require.NoError(t, err)
	text := string(old)
	served := everything(t)
	for part, prefix := range map[string]string{"own": "rotate_certs_", "x509": "x509_"} {
		before, rest, ok := strings.Cut(text, "<!-- "+part+" -->\n")
		require.True(t, ok, "docs/metrics.md has a place for %s", part)
		_, after, ok := strings.Cut(rest, "<!-- end -->")
		require.True(t, ok)
		text = before + "<!-- " + part + " -->\n" + describeFamilies(t, served, prefix) + "<!-- end -->" + after
	}
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(document, []byte(text), 0o644))
		return
	}
	require.Equal(t, string(old), text, "UPDATE=1 go test ./watcher/metrics -run TestDocument writes docs/metrics.md")
}

// everything is what a leader serves of which each metric has a sample.
func everything(t *testing.T) map[string]*dto.MetricFamily {
	t.Helper()
	r := report("cp1")
	r.Certificates[0].NotRenewable = &v1alpha1.NotRenewable{Reason: "no key"}
	r.Summary.ObservedAt = "2026-06-01T11:00:00Z"
	m := metricsOf(r)
	m.CountReport("cp1", r)
	text := expfmt.NewTextParser(model.LegacyValidation)
	served, err := text.TextToMetricFamilies(strings.NewReader(scrape(t, m, "")))
	require.NoError(t, err)
	return served
}

func describeFamilies(t *testing.T, served map[string]*dto.MetricFamily, prefix string) string {
	t.Helper()
	var rows []string
	for name, family := range served {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		require.NotEmpty(t, family.GetMetric(), "%s has no sample here, so its labels are not known", name)
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s | %s |\n", name, strings.ToLower(family.GetType().String()), labelsOf(family), family.GetHelp()))
	}
	slices.Sort(rows)
	return "| name | type | labels | meaning |\n|---|---|---|---|\n" + strings.Join(rows, "")
}

func labelsOf(family *dto.MetricFamily) string {
	var names []string
	for _, metric := range family.GetMetric() {
		for _, l := range metric.GetLabel() {
			name := "`" + l.GetName() + "`"
			switch {
			case strings.HasPrefix(l.GetName(), "subject_"):
				name = "`subject_*`"
			case strings.HasPrefix(l.GetName(), "issuer_"):
				name = "`issuer_*`"
			}
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// TestDocumentedReasons are those that a decision has, and Starting.
func TestDocumentedReasons(t *testing.T) {
	source, err := os.ReadFile("../../pkg/policy/renewal/decide.go")
	require.NoError(t, err)
	want := []string{"Starting"}
	for _, found := range regexp.MustCompile(`(?m)^\tReason\w+ +Reason = "(\w+)"`).FindAllStringSubmatch(string(source), -1) {
		want = append(want, found[1])
	}
	require.Greater(t, len(want), 10)
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	_, table, _ := strings.Cut(string(text), "| reason |")
	table, _, _ = strings.Cut(table, "\n\n")
	var got []string
	for _, row := range regexp.MustCompile("(?m)^\\| `([A-Za-z]+)` \\|").FindAllStringSubmatch(table, -1) {
		got = append(got, row[1])
	}
	require.ElementsMatch(t, want, got)
}
