//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestADeletedLockStillFences deletes the Lease between two rotations: the nodes'
// journals know the highest token, so the next one is higher, and a node refuses the
// order of a holder from before.
func TestADeletedLockStillFences(t *testing.T) {
	ctx, node := t.Context(), the.controlPlanes()[0].Name
	the.rotate(t, "--service", "kube-scheduler", "--node", node)
	first := the.token(t)
	require.NoError(t, the.client.CoordinationV1().Leases("kube-system").Delete(ctx, "rotate-certs", metav1.DeleteOptions{}))
	second := the.rotate(t, "--service", "kube-scheduler", "--node", node)
	assert.Greater(t, the.token(t), first, "the token grows though nothing but the nodes remembers it")

	the.install(t, node, "rotate-certs-node", "/run/rotate-certs-node")
	before := the.snapshot(t, node)
	t.Cleanup(func() {
		_, _ = the.try(context.WithoutCancel(ctx), node, "rm -rf /run/rotate-certs-node /var/lib/rotate-certs/rotations/stale")
	})
	// The process waits for more orders, so timeout ends it, orderly.
	out := string(the.on(t, node, fmt.Sprintf(`cd /run
		echo '{"kind":"Stage","rotation":"stale","token":%d,"step":{"node":"%s"}}' | ./rotate-certs-node order --rotation stale
		timeout 5 ./rotate-certs-node run --rotation stale || true`, first, node)))
	assert.Contains(t, out, `"kind":"Refused"`)
	assert.Contains(t, out, fmt.Sprintf("fencing token %d refused", first))
	assert.Contains(t, out, second.ID, "who took over is named")
	assert.Empty(t, changed(before, the.snapshot(t, node)))
}

// TestHistoryShowsWhatRan, as text and as JSON.
func TestHistoryShowsWhatRan(t *testing.T) {
	node := the.controlPlanes()[0].Name
	report := the.rotate(t, "--service", "kube-scheduler", "--node", node)
	names := strings.Fields(the.kubectl(t, "rotate-certs", "history", "-o", "name").stdout)
	require.Contains(t, names, report.ID)
	one := the.kubectl(t, "rotate-certs", "history", report.ID, "--node", node)
	require.Zero(t, one.exit, "%s", one)
	assert.Contains(t, one.stdout, "COMMITTED AND VERIFIED")
	status := the.kubectl(t, "rotate-certs", "status")
	assert.Contains(t, status.stdout, "No rotation is in progress.\n")
	assert.Contains(t, status.stdout, report.ID+", kube-scheduler on "+node)
	assert.Contains(t, status.stdout, "succeeded")
}

// token is the fencing token of the last lock.
func (l *lab) token(t *testing.T) int32 {
	t.Helper()
	lease, err := l.client.CoordinationV1().Leases("kube-system").Get(t.Context(), "rotate-certs", metav1.GetOptions{})
	require.NoError(t, err)
	require.NotNil(t, lease.Spec.LeaseTransitions)
	return *lease.Spec.LeaseTransitions
}

// install puts a built program on a node.
func (l *lab) install(t *testing.T, node, program, path string) {
	t.Helper()
	f, err := os.Open(filepath.Join(l.bin, program))
	require.NoError(t, err)
	defer f.Close()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errHangs)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, "lab"), "exec", "--name", l.name, node, "--", "/bin/sh", "-c", "cat > "+path+" && chmod 700 "+path)
	cmd.Stdin = f
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
