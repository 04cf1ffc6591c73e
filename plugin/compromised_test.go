package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestCompromisedReachesTheNodesAndIsSaid before anything happens.
func TestCompromisedReachesTheNodesAndIsSaid(t *testing.T) {
	f := healthy()
	code, _, stderr := f.run(t, "--service", "etcd", "--compromised")
	assert.Equal(t, 0, code)
	assert.Contains(t, stderr, "\n"+compromisedMeans+"\n")
	assert.True(t, f.did("Stage cp1 compromised"), "the node is told")
	assert.True(t, f.did("Stage cp2 compromised"))

	f = healthy()
	_, _, stderr = f.run(t, "--service", "etcd")
	assert.NotContains(t, stderr, "--compromised")
	assert.False(t, f.did("compromised"))
}
