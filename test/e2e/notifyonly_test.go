//go:build e2e

package e2e

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNotifyOnly: events are published, and no role permits more. Uninstalling removes what
// install created, its namespace too.
func TestNotifyOnly(t *testing.T) {
	the.installWatcher(t, "--notify-only")
	before := len(the.rotations(t))
	node := the.controlPlanes()[0]
	serial := the.putExpiring(t, node, due)
	within(t, time.Minute, "the event", func() bool { return slices.Contains(the.eventKinds(t, node.Name), "certificate.expiring") })
	assert.Equal(t, serial, served(t, node.IP+":2379").SerialNumber, "it is not renewed")
	assert.Len(t, the.rotations(t), before)
	assert.Contains(t, the.metrics(t), `rotate_certs_certificates_waiting{reason="NotifyOnly"}`)
	account := "--as=system:serviceaccount:rotate-certs:rotate-certs-watcher"
	assert.NotZero(t, the.kubectl(t, "auth", "can-i", "create", "pods", "-n", "rotate-certs", account).exit, "it could not if it wanted to")

	// With the right to, the same certificate is renewed: nothing about it was forgotten.
	o := the.kubectl(t, "rotate-certs", "install")
	require.Zero(t, o.exit, "%s", o)
	assert.NotZero(t, the.kubectl(t, "auth", "can-i", "create", "pods", "-n", "rotate-certs", account).exit, "installed again, it is what it was")
	the.installed(t, "--notify-only=false")
	the.waitUntilRenewed(t, node, serial)
	uninstalledItLeavesNothing(t)
}
