package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard/watched"
)

// TestCompromisedReachesTheNodesAndThePlan before anything happens.
func TestCompromisedReachesTheNodesAndThePlan(t *testing.T) {
	f := healthy()
	code, _, stderr := f.run(t, "--service", "etcd", "--compromised")
	assert.Equal(t, 0, code)
	assert.Contains(t, stderr, "\n"+watched.CompromisedMeans+"\n")
	assert.True(t, f.did("Stage cp1 compromised"), "the order says so")
	assert.True(t, f.did("Stage cp2 compromised"))

	f = healthy()
	_, _, stderr = f.run(t, "--service", "etcd")
	assert.NotContains(t, stderr, "--compromised")
	assert.False(t, f.did("compromised"))
}
