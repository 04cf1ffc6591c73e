package rotationpolicy_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
)

func singleDocument(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../../docs/policy.md")
	require.NoError(t, err)
	return string(text)
}

// TestDocumentedExample: the example parses, and has every field that there is.
func TestDocumentedExample(t *testing.T) {
	found := regexp.MustCompile("(?s)<!-- example -->\n```yaml\n(.*?)```").FindStringSubmatch(singleDocument(t))
	require.NotNil(t, found)
	p := compiled(t, found[1])
	assert.Len(t, p.Rules, 3)
	for _, field := range []string{"threshold", "windows", "override", "rules", "services", "nodeSelector", "issuers", "mode", "validity", "restart",
		"freeze", "until", "reason", "allow", "rotationsPerDay", "nodesPerRotation", "maxUnavailable", "initialBackoff", "maxBackoff", "stopAfter", "fleetRequests"} {
		assert.Contains(t, found[1], field+":")
	}
}

// TestDocumentedDefaults: the table says what the code does.
func TestDocumentedDefaults(t *testing.T) {
	p := renewal.Default()
	near := func(n renewal.Threshold) string {
		return fmt.Sprintf("%s or %g%%", certs.FormatDuration(n.Duration), n.Fraction*100)
	}
	windows := "any time"
	if len(p.Default.Windows) > 0 {
		windows = "some"
	}
	want := []string{"| field | default |", "|---|---|"}
	for _, row := range [][2]any{
		{"defaults.mode", map[renewal.Mode]string{renewal.Automatic: "Automatic", renewal.NotifyOnly: "NotifyOnly"}[p.Default.Mode]},
		{"defaults.threshold", near(p.Default.Threshold)},
		{"defaults.selfManaged", near(p.Default.SelfManaged)},
		{"defaults.windows", windows},
		{"defaults.override", near(p.Default.Override)},
		{"defaults.restart.renewal", p.Default.Renewal.APIName()},
		{"defaults.restart.compromise", p.Default.Compromise.APIName()},
		{"authorities", near(p.Authorities)},
		{"freeze.enabled", p.Freeze.On},
		{"limits.rotationsPerDay", p.Limits.RotationsPerDay},
		{"limits.nodesPerRotation", p.Limits.NodesPerRotation},
		{"limits.maxUnavailable", p.Limits.MaxUnavailable},
		{"retry.initialBackoff", certs.FormatDuration(p.Retry.Initial)},
		{"retry.maxBackoff", certs.FormatDuration(p.Retry.Max)},
		{"retry.stopAfter", p.Retry.StopAfter},
		{"fleetRequests.services", map[bool]string{true: "none"}[len(p.FleetServices) == 0]},
	} {
		want = append(want, fmt.Sprintf("| `%s` | %v |", row[0], row[1]))
	}
	assert.Contains(t, singleDocument(t), "<!-- defaults -->\n"+strings.Join(want, "\n")+"\n\n")
}
