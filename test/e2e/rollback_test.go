//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestRollbackOfARotation: the certificates and keys from before a finished rotation are put
// back and served again, and the history shows both rotations. On the node, by hand, the
// rollback is rolled back.
func TestRollbackOfARotation(t *testing.T) {
	node := the.controlPlanes()[0]
	before := the.snapshot(t, node.Name)
	report := the.rotate(t, "--service", "etcd,kube-scheduler", "--node", node.Name)
	rotated := the.snapshot(t, node.Name)

	planned := the.kubectl(t, "rotate-certs", "rollback", report.ID, "--dry-run=server")
	require.Zero(t, planned.exit, "%s", planned)
	assert.Contains(t, planned.stdout, "rollback of "+report.ID)
	assert.Empty(t, changed(rotated, the.snapshot(t, node.Name)), "a dry run changes nothing")

	o := the.kubectl(t, "rotate-certs", "rollback", report.ID, "--yes", "-o", "json")
	require.Zero(t, o.exit, "%s", o)
	rollback := parseReport(t, o)
	assert.Equal(t, report.ID, rollback.RollbackOf)
	assert.Equal(t, map[string]string{node.Name + "/etcd": "Succeeded", node.Name + "/kube-scheduler": "Succeeded"}, rollback.results())

	after := the.snapshot(t, node.Name)
	for _, service := range []string{"etcd", "kube-scheduler"} {
		for _, s := range the.certificates(t, service, node, before) {
			old, now := before.identity(t, s.cert, s.key), after.identity(t, s.cert, s.key)
			assert.Equal(t, fingerprint(old.leaf), fingerprint(now.leaf), s.cert)
			assert.Equal(t, old.key, now.key, s.key)
			for _, port := range s.ports {
				assert.Equal(t, fingerprint(old.leaf), fingerprint(served(t, port)), "%s serves the certificate from before", port)
			}
		}
	}
	history := the.kubectl(t, "rotate-certs", "history", "--node", node.Name)
	require.Zero(t, history.exit, "%s", history)
	assert.Contains(t, history.stdout, "rollback of "+report.ID)
	assert.Contains(t, strings.Fields(the.kubectl(t, "rotate-certs", "history", "-o", "name", "--node", node.Name).stdout), report.ID)

	the.install(t, node.Name, "rotate-certs-node", "/run/rotate-certs-node")
	byHand := string(the.on(t, node.Name, "/run/rotate-certs-node history -o name"))
	assert.Subset(t, strings.Fields(byHand), []string{report.ID, rollback.ID}, "the node's own journals have both")

	again := the.kubectl(t, "rotate-certs", "rollback", report.ID, "--yes")
	assert.Equal(t, 1, again.exit, "%s", again)
	assert.Contains(t, again.stderr, "no certificate that it has renewed is in use")

	the.on(t, node.Name, "/run/rotate-certs-node rollback "+rollback.ID+" 2>&1")
	newest := the.snapshot(t, node.Name)
	for _, s := range the.certificates(t, "etcd", node, before) {
		assert.Equal(t, fingerprint(rotated.identity(t, s.cert, s.key).leaf), fingerprint(newest.identity(t, s.cert, s.key).leaf), s.cert)
	}
	the.waitUntilReady(t)
	the.assertClusterIsWhole(t)
}
