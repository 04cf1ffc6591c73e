//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// TestWatcher is automatic rotation: one installation, and everything that it does. It
// begins with a NATS of the user's own, set up as docs/events.md says, and two watchers, and
// ends with the NATS of the one watcher.
func TestWatcher(t *testing.T) {
	servers, replicas := 1, 0
	kills, _ := soak(t)
	if kills > 0 {
		servers, replicas = 3, 3
	}
	server := newNATS(t, servers)
	server.secret(t)
	the.installWatcher(t, "--nats-url", server.urls(), "--nats-secret", "rotate-certs-nats", "--nats-replicas", strconv.Itoa(replicas), "--share-summary")
	within(t, time.Minute, "two watchers, and a budget for them", func() bool {
		o := the.kubectl(t, "-n", "rotate-certs", "get", "deployment/rotate-certs-watcher", "poddisruptionbudget/rotate-certs-watcher",
			"-o", "jsonpath={.items[*].status.readyReplicas} {.items[*].status.currentHealthy}")
		return o.stdout == "2 2"
	})
	t.Run("renews what expires soon", renewsWhatExpiresSoon)
	t.Run("refuses requests of other users", server.otherUsersCannotStartARotation)
	t.Run("replaces keys that an incident responder reports", server.compromisedEventStartsARotation)
	t.Run("carries out what another cluster asks for", server.anotherClusterAsks)
	t.Run("continues with another leader", anotherWatcherTakesOver)
	t.Run("survives NATS being killed", server.killedLosesNothing)
	if kills > 0 {
		t.Run("survives leaders being killed", aKilledWatcherLosesNothing)
	}
	t.Run("renews what is urgent without NATS", server.needsNoNATSWhenUrgent)
	t.Run("replaces what is compromised", whatIsCompromisedIsReplaced)

	the.installed(t, append(noDailyLimit(t), "--nats-url=")...)
	budgets := the.kubectl(t, "-n", "rotate-certs", "get", "poddisruptionbudgets", "-o", "name")
	assert.Empty(t, budgets.stdout, "one watcher may be unavailable: %s", budgets)
	t.Run("replaces a stolen identity of a node without using it", aStolenIdentityIsNotUsed)
	t.Run("survives being killed", aKilledWatcherLosesNothing)
	t.Run("rotates what a user requests with kubectl", anyonePermittedMayAsk)
	t.Run("leaves what is not its own", server.uninstalledItLeavesTheSecret)
}

// installWatcher installs, and sees to it that nothing stays.
func (l *lab) installWatcher(t *testing.T, args ...string) {
	t.Helper()
	l.uninstallAtEnd(t)
	l.installed(t, args...)
	within(t, time.Minute, "a report of every node", func() bool { return len(l.reports(t)) == len(l.nodes) })
}

func (l *lab) uninstallAtEnd(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), limit)
		defer cancel()
		out, err := l.command(ctx, "rotate-certs", "uninstall", "--yes").CombinedOutput()
		assert.NoError(t, err, "%s", out)
	})
}

func (l *lab) installed(t *testing.T, args ...string) {
	t.Helper()
	if kills, _ := soak(t); kills > 0 || len(l.controlPlanes()) == 1 {
		args = append(slices.Clone(args), noDailyLimit(t)...)
	}
	for _, dir := range l.agentDirectories(t) {
		args = append(slices.Clone(args), "--agent-directory", dir)
	}
	o := l.kubectl(t, append([]string{"rotate-certs", "install"}, args...)...)
	require.Zero(t, o.exit, "%s", o)
	t.Logf("installed in %s", o.took.Round(time.Millisecond))
}

// noDailyLimit are the flags with which more is renewed within a day than the defaults allow,
// of one node too.
func noDailyLimit(t *testing.T) []string {
	t.Helper()
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	require.NoError(t, os.WriteFile(policy, []byte("apiVersion: rotate-certs.io/v1alpha1\nkind: RotationPolicy\nmetadata: {name: default}\nspec: {limits: {rotationsPerDay: 0}}\n"), 0o600))
	return []string{"--policy", policy}
}

func renewsWhatExpiresSoon(t *testing.T) {
	node := the.controlPlanes()[0]
	serial := the.putExpiring(t, node, due)
	began := time.Now()
	the.waitUntilRenewed(t, node, serial)
	t.Logf("renewed %s after it was put in place", time.Since(began).Round(time.Millisecond))

	rotations := the.rotations(t)
	require.Len(t, rotations, 1, "one rotation, and no more")
	assert.Equal(t, v1alpha1.StateSucceeded, rotations[0].State())
	assert.Equal(t, []string{node.Name}, rotations[0].Spec.Nodes)
	assert.Zero(t, the.kubectl(t, "wait", "--for=condition=Succeeded", "certificaterotation/"+rotations[0].Name, "--timeout=5s").exit)
	explained := the.kubectl(t, "explain", "certificaterotation.spec.compromised")
	assert.Contains(t, explained.stdout, "the old keys are not trusted")

	// The events are in order. Those of renewed certificates are published by another client.
	within(t, 30*time.Second, "all events", func() bool { return slices.Contains(the.eventKinds(t, node.Name), "certificate.renewed") })
	kinds := slices.DeleteFunc(the.eventKinds(t, node.Name), func(s string) bool { return s == "certificate.renewed" })
	assert.Equal(t, []string{"certificate.expiring", "rotation.requested", "rotation.started", "rotation.nodeverified", "rotation.succeeded"}, kinds)

	_, o := the.check(t)
	assert.Zero(t, o.exit, "check is clean: %s", o)
	metrics := the.metrics(t)
	assert.Contains(t, metrics, `rotate_certs_rotations_total{result="Succeeded"} 1`)
	assert.NotContains(t, metrics, "rotate_certs_certificates_waiting{", "nothing is due any more")
	assert.Contains(t, metrics, `x509_cert_not_after{node="`+node.Name+`",service="etcd",name="etcd-server"`)
	events := the.kubectl(t, "get", "events", "-A", "--field-selector", "involvedObject.kind=CertificateRotation", "-o", "name")
	assert.NotEmpty(t, events.stdout, "Kubernetes Events report it too")
	the.assertClusterIsWhole(t)
}

// anyonePermittedMayAsk, with an object of his own, which begins when he lets it.
func anyonePermittedMayAsk(t *testing.T) {
	node := the.nodes[len(the.nodes)-1]
	the.apply(t, `{apiVersion: rotate-certs.io/v1alpha1, kind: CertificateRotation, metadata: {name: by-hand},
		spec: {services: [kubelet], nodeSelector: {matchLabels: {kubernetes.io/hostname: `+node.Name+`}}, suspend: true}}`)
	o := the.kubectl(t, "wait", `--for=jsonpath={.status.conditions[?(@.type=="Succeeded")].reason}=Suspended`, "certificaterotation/by-hand", "--timeout=1m")
	require.Zero(t, o.exit, "%s", o)
	o = the.kubectl(t, "patch", "certificaterotation", "by-hand", "--type=merge", "-p", `{"spec":{"suspend":false}}`)
	require.Zero(t, o.exit, "%s", o)
	o = the.kubectl(t, "wait", "--for=condition=Succeeded", "certificaterotation/by-hand", "--timeout=3m")
	require.Zero(t, o.exit, "%s", o)
	change := the.kubectl(t, "patch", "certificaterotation", "by-hand", "--type=merge", "-p", `{"spec":{"restart":"Never"}}`)
	assert.NotZero(t, change.exit)
	assert.Contains(t, change.stderr, "can be changed: create another")
}
