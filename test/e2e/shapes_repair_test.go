//go:build e2e

package e2e

import (
	"context"
	"crypto/sha256"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestShapeARepairSurvivesTheReboot: the node's process and the plugin are killed between old
// and new, a person renews the certificates with kubeadm, and the node reboots later. What
// the person made stays.
func TestShapeARepairSurvivesTheReboot(t *testing.T) {
	const conf = "/etc/kubernetes/scheduler.conf"
	node := the.controlPlanes()[0].Name
	run := the.start(t, "rotate-certs", "--service", "kube-scheduler,kube-controller-manager", "-o", "json")
	the.waitForRecord(t, "Committing", node)
	the.on(t, node, killNodeProgram)
	run.kill(syscall.SIGKILL)
	<-run.outcome
	the.on(t, node, "test -e /etc/systemd/system/rotate-certs-recover.service")

	the.on(t, node, "kubeadm certs renew scheduler.conf && kubeadm certs renew controller-manager.conf")
	repaired := the.snapshot(t, node)
	the.reboot(t, node)

	after := the.snapshot(t, node)
	for _, path := range []string{conf, "/etc/kubernetes/controller-manager.conf"} {
		assert.Equal(t, sha256.Sum256(repaired[path].data), sha256.Sum256(after[path].data), "%s is what the person made", path)
	}
	the.on(t, node, "for i in $(seq 2400); do curl -sfk https://127.0.0.1:10259/healthz && curl -sfk https://127.0.0.1:10257/healthz && exit 0; sleep 0.1; done; exit 1")
	the.succeedsAfterReboot(t, "plan", "--service", "kube-scheduler,kube-controller-manager")
	report := the.rotate(t, "--service", "kube-scheduler,kube-controller-manager", "--take-over")
	assert.Equal(t, "Succeeded", report.Result)
	_, o := the.check(t)
	assert.Zero(t, o.exit, "%s", o)
	the.assertKubeletsAnswer(t)
}

// killNodeProgram ends what works on the node as a power cut would.
const killNodeProgram = `killed=; for p in /proc/[0-9]*; do
	[ "$(cat $p/comm 2>/dev/null)" = rotate-certs-no ] && kill -9 ${p#/proc/} && killed=yes
done; [ "$killed" ]`

// succeedsAfterReboot waits until a command scans every node: for a while after its node was
// off, a kubelet is Ready, and a pod that scans comes to nothing.
func (l *lab) succeedsAfterReboot(t *testing.T, args ...string) {
	t.Helper()
	within(t, 4*time.Minute, "a node that can be scanned", func() bool {
		o := l.kubectl(t, append([]string{"rotate-certs"}, args...)...)
		if o.exit != 0 {
			t.Logf("%s", o)
		}
		return o.exit == 0
	})
}

// reboot switches a node off and on.
func (l *lab) reboot(t *testing.T, node string) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errHangs)
	defer cancel()
	out, err := exec.CommandContext(ctx, filepath.Join(l.bin, "lab"), "reboot", "--name", l.name, node).CombinedOutput()
	require.NoError(t, err, "%s", out)
}
