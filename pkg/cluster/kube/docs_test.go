package kube

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"
)

// TestDocumentedRoles keeps docs/permissions.md true; UPDATE=1 writes it.
func TestDocumentedRoles(t *testing.T) {
	const path = "../../../docs/permissions.md"
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	after := string(before)
	for _, use := range []Use{UseCheck, UseRotate, UseRotateOverSSH} {
		var documents []string
		for _, role := range Roles(use, DefaultNamespace) {
			text, err := yaml.Marshal(role)
			require.NoError(t, err)
			documents = append(documents, strings.Replace(string(text), "  creationTimestamp: null\n", "", 1))
		}
		block := regexp.MustCompile(`(?s)<!-- roles ` + string(use) + ` -->.*?<!-- end -->`)
		require.True(t, block.MatchString(after), "docs/permissions.md has a place for the roles of %s", use)
		after = block.ReplaceAllLiteralString(after,
			"<!-- roles "+string(use)+" -->\n```yaml\n"+strings.Join(documents, "---\n")+"```\n<!-- end -->")
	}
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(after), 0o600))
		return
	}
	assert.Equal(t, after, string(before), "UPDATE=1 go test ./pkg/cluster/kube writes it")
}
