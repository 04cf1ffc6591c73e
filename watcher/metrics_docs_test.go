package watcher

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
)

// TestMetricsOfLibrariesAreDocumented by what their names begin with.
func TestMetricsOfLibrariesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/metrics.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(text), "\n## Libraries\n")
	require.True(t, ok)
	var prefixes []string
	for _, found := range regexp.MustCompile("`([a-z_]+_)\\*`").FindAllStringSubmatch(section, -1) {
		prefixes = append(prefixes, found[1])
	}
	served, err := ctrlmetrics.Registry.Gather()
	require.NoError(t, err)
	require.NotEmpty(t, served)
	for _, family := range served {
		assert.True(t, slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(family.GetName(), p) }), family.GetName())
	}
}
