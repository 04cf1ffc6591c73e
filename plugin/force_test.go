package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestForceSaysWhatItOverrides in the plan, on the way and in the report.
func TestForceSaysWhatItOverrides(t *testing.T) {
	f := healthy()
	f.sick = "cp2"
	code, _, stderr := f.run(t, "--service", "etcd")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "cp2: API server is not ready: connection refused")
	assert.Contains(t, stderr, "add --force")

	code, stdout, stderr := f.run(t, "--service", "etcd", "--force")
	require.Zero(t, code, stderr)
	assert.Contains(t, stderr, "\n"+forceMeans+"\n")
	assert.Contains(t, stderr, "overridden by --force: cp2: API server is not ready: connection refused")
	assert.Contains(t, stdout, "\nOverridden by --force: cp2: API server is not ready: connection refused\n")

	_, stdout, _ = f.run(t, "--service", "etcd", "--force", "-o", "json")
	assert.Contains(t, stdout, `"overridden": [`)
	_, stdout, _ = f.run(t, "--service", "etcd", "--force", "--dry-run=client", "-o", "json")
	assert.Contains(t, stdout, `"force": true`)
	assert.Contains(t, stdout, forceMeans[:60])
}
