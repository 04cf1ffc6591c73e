//go:build e2e

package e2e

import (
	"testing"
	"time"
)

// TestWatcherContinuesAfterARecovery: the watcher of a cluster that comes back renews the next
// certificate that expires soon. The test does nothing to it between.
func TestWatcherContinuesAfterARecovery(t *testing.T) {
	the.startWorkload(t)
	the.installWatcher(t)
	the.expireAll(t)

	began := time.Now()
	the.assertRecovers(t)

	within(t, 4*time.Minute, "a watcher that is ready", func() bool {
		o := the.kubectl(t, "-n", "rotate-certs", "get", "deployment/rotate-certs-watcher", "-o", "jsonpath={.status.readyReplicas}/{.spec.replicas}")
		return o.stdout == "1/1"
	})
	t.Logf("the watcher is ready %s after the recovery began", time.Since(began).Round(time.Second))
	node := the.controlPlanes()[0]
	serial := the.putExpiring(t, node, due)
	the.waitUntilRenewed(t, node, serial)
	the.assertClusterIsWhole(t)
}
