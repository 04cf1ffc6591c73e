//go:build e2e

package e2e

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// overSSH are the flags of a command that reaches all machines over ssh.
func (l *lab) overSSH(t *testing.T) []string {
	t.Helper()
	var hosts []string
	for _, n := range l.hosts() {
		hosts = append(hosts, n.Name)
	}
	return []string{"--transport=ssh", "--ssh-config", l.sshConfig(t), "--host", strings.Join(hosts, ",")}
}

// TestRotateOverSSH rotates without a pod on a node, under the same lock.
func TestRotateOverSSH(t *testing.T) {
	const service = "kube-scheduler"
	before := the.snapshots(t)
	run := the.start(t, append([]string{"rotate-certs", "--service", service, "-o", "json"}, the.overSSH(t)...)...)
	within(t, limit, "staged", func() bool { return says("certificates signed", 1)(t, run) || len(run.outcome) > 0 })
	assert.True(t, lockIsHeld(t, run), "the lock is held")
	assert.False(t, podsRun(1)(t, run), "there is no pod of the rotation")
	o := <-run.outcome
	require.Zero(t, o.exit, "%s", o)
	assert.Equal(t, "Succeeded", parseReport(t, o).Result)
	the.assertRotated(t, service, before)
	the.assertNoProgram(t)
	assert.False(t, lockIsHeld(t, run), "the lock is released")
}

// TestRotateOverSSHWithoutTheAPI has a kubeconfig whose API server refuses connections. The cluster
// is healthy, and its health is asked on the machines.
func TestRotateOverSSHWithoutTheAPI(t *testing.T) {
	const service = "kube-scheduler"
	before := the.snapshots(t)
	o := the.kubectl(t, append([]string{"rotate-certs", "--service", service, "--server", "https://127.0.0.1:1", "--yes"}, the.overSSH(t)...)...)
	require.Zero(t, o.exit, "%s", o)
	assert.Contains(t, o.stderr, "Without the cluster's lock")
	the.assertRotated(t, service, before)
}

func TestCheckOverSSH(t *testing.T) {
	o := the.kubectl(t, append([]string{"rotate-certs", "check", "--server", "https://127.0.0.1:1"}, the.overSSH(t)...)...)
	require.Zero(t, o.exit, "%s", o)
	for _, n := range the.hosts() {
		assert.Contains(t, o.stdout, n.Name)
	}
}

// assertRotated compares a service's files on all nodes with those of before.
func (l *lab) assertRotated(t *testing.T, service string, before map[string]tree) {
	t.Helper()
	for _, n := range l.nodes {
		after := l.snapshot(t, n.Name)
		for _, s := range l.certificates(t, service, n, after) {
			l.assertStoredAnew(t, n, s, before[n.Name], after)
		}
	}
	l.assertClusterIsWhole(t)
}
