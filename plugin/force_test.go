package plugin

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestForceNamesOverriddenFindings in the plan, on the way and in the report.
func TestForceNamesOverriddenFindings(t *testing.T) {
	f := healthy()
	f.unhealthy = "cp2"
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
	_, stdout, _ = f.run(t, "plan", "--service", "etcd", "--force", "-o", "json")
	assert.Contains(t, stdout, `"force": true`)
	assert.Contains(t, stdout, forceMeans[:60])
}

// TestClocksAreComparedBeforeTheStart in the plan and by the rotation.
func TestClocksAreComparedBeforeTheStart(t *testing.T) {
	f := healthy()
	f.scanned[1].Time = noon.Add(9 * time.Minute)
	const what = " is 9m0s ahead"
	_, stdout, _ := f.run(t, "plan", "--service", "etcd")
	assert.Contains(t, stdout, "Refused at the start, unless --force is given: clocks differ by 9m0s: "+f.scanned[1].Name+what)
	code, _, stderr := f.run(t, "--service", "etcd")
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, "the clocks of the nodes are too far apart to start; nothing was changed")
	assert.False(t, f.did("Stage"))
	code, stdout, _ = f.run(t, "--service", "etcd", "--force")
	assert.Zero(t, code)
	assert.Contains(t, stdout, "Overridden by --force: clocks differ by 9m0s")
}

// TestNotReadyControlPlaneNodeIsAFinding is a finding, also where it is out of scope.
func TestNotReadyControlPlaneNodeIsAFinding(t *testing.T) {
	f := healthy()
	f.nodes[0].Ready = false
	node := f.nodes[1].Name
	_, stdout, _ := f.run(t, "plan", "--service", "etcd", "--node", node)
	says := f.nodes[0].Name + " is a control-plane node, and its API server could not be probed: NotReady"
	assert.Contains(t, stdout, "Refused at the start, unless --force is given: "+says)
	code, _, stderr := f.run(t, "--service", "etcd", "--node", node)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr, says)
	assert.False(t, f.did("Stage"))
}

// TestNothingToDoNamesNodesThatWereNotInspected: the service may be on it.
func TestNothingToDoNamesNodesThatWereNotInspected(t *testing.T) {
	f := healthy()
	for _, node := range []string{"cp1", "cp2", "cp3"} {
		f.missing = append(f.missing, plan.NotInspected{Node: node, Reason: "its pod was evicted"})
	}
	_, _, stderr := f.run(t, "--service", "kube-scheduler")
	assert.Contains(t, stderr, "nothing to do")
	assert.Contains(t, stderr, "not inspected: cp1: its pod was evicted\n")
}
