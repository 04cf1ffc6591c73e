//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestAPIServersUnavailableDuringRotation has every API server refuse connections while a
// node is between old and new: for a while, with a rotation of that node only; or for two
// minutes and with all of them, where SOAK is set. The node continues to the end without
// them, and nothing is renewed twice.
func TestAPIServersUnavailableDuringRotation(t *testing.T) {
	outage, nodes := 25*time.Second, the.controlPlanes()[:1]
	if os.Getenv("SOAK") != "" {
		outage, nodes = 2*time.Minute, the.controlPlanes()
	}
	var names []string
	for _, n := range nodes {
		names = append(names, n.Name)
	}
	command := []string{"--service", "etcd", "--node", strings.Join(names, ",")}
	refuse := fmt.Sprintf("INPUT -p tcp --dport %s -j REJECT --reject-with tcp-reset", apiPort(t, the))
	before, began := the.snapshots(t), time.Now()
	run := the.start(t, append([]string{"rotate-certs", "-o", "json"}, command...)...)
	at := the.waitForRecord(t, "Committing", names...)
	defer func() {
		for _, n := range the.controlPlanes() {
			_, _ = the.try(context.Background(), n.Name, "iptables -D "+refuse+" 2>/dev/null || true")
		}
	}()
	for _, n := range the.controlPlanes() {
		the.on(t, n.Name, "iptables -I "+refuse)
	}
	refusedSince := time.Now()
	require.NoError(t, wait.PollUntilContextTimeout(t.Context(), time.Second, outage+3*time.Minute, true, func(context.Context) (bool, error) {
		return time.Since(refusedSince) >= outage && the.commits(t, at, began) > 0, nil
	}), "%s does not finish without the API server", at)
	for _, n := range the.controlPlanes() {
		the.on(t, n.Name, "iptables -D "+refuse)
	}
	o := <-run.outcome
	first := parseReport(t, o)
	t.Logf("API servers unavailable for %s, exit code %d, %s: %s", outage, o.exit, first.Result, o.stderr)
	assert.NotContains(t, o.stderr, "is unfinished", "a rotation of before, which has ended on a node that this one does not scan")
	if o.exit != 0 {
		assert.Contains(t, o.stderr, "the same command", "it says how to continue")
		the.waitUntilReady(t)
		again := the.rotate(t, command...)
		assert.Equal(t, first.ID, again.ID, "the same command continues it")
		assert.Equal(t, "Succeeded", again.Result)
	}
	for _, n := range nodes {
		assert.Equal(t, 1, the.commits(t, n.Name, began), "%s was worked on once", n.Name)
		after := the.snapshot(t, n.Name)
		for _, s := range the.certificates(t, "etcd", n, after) {
			the.assertStoredAnew(t, n, s, before[n.Name], after)
		}
	}
	the.waitUntilReady(t)
	the.assertClusterIsWhole(t)
}

// waitUntilReady waits until the API answers again and every node says that it is ready.
func (l *lab) waitUntilReady(t *testing.T) {
	t.Helper()
	o := l.kubectl(t, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
	for began := time.Now(); o.exit != 0 && time.Since(began) < time.Minute; {
		o = l.kubectl(t, "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")
	}
	require.Zero(t, o.exit, "%s", o)
}

// TestASignerThatShortens has the cluster's own signer grant two hours: the report says
// what that means for a kubelet. Afterwards it grants what it did before.
func TestASignerThatShortens(t *testing.T) {
	const flag = "--cluster-signing-duration=2h"
	node := the.nodes[len(the.nodes)-1]
	client := "/var/lib/kubelet/pki/kubelet-client-current.pem"
	defer func() {
		the.signerRuns(t, "sed -i '/"+flag+"/d' /etc/kubernetes/manifests/kube-controller-manager.yaml", flag, false)
		report := the.rotate(t, "--service", "kubelet", "--node", node.Name)
		assert.NotContains(t, strings.Join(report.Notes, " "), "shorter life", "it is longer again")
	}()
	the.signerRuns(t, "sed -i 's/^    - kube-controller-manager$/&\\n    - "+flag+"/' /etc/kubernetes/manifests/kube-controller-manager.yaml", flag, true)
	report := the.rotate(t, "--service", "kubelet", "--node", node.Name)
	assert.Equal(t, "Succeeded", report.Result)
	assert.Contains(t, strings.Join(report.Notes, " "), "The new certificate of kubelet/kubelet-client has a shorter life: it is valid for 2 hours")
	leaf := the.snapshot(t, node.Name).identity(t, client, client).leaf
	assert.WithinDuration(t, time.Now().Add(2*time.Hour), leaf.NotAfter, 10*time.Minute)
}

// signerRuns changes the manifest of every controller manager, and waits until all run
// with a flag or without it, and are healthy.
func (l *lab) signerRuns(t *testing.T, change, flag string, with bool) {
	t.Helper()
	for _, n := range l.controlPlanes() {
		l.on(t, n.Name, change)
	}
	for _, n := range l.controlPlanes() {
		inspect := "tr '\\0' '\\n' < /proc/$(pidof kube-controller-manager | cut -d' ' -f1)/cmdline && curl -sfk https://127.0.0.1:10257/healthz"
		require.NoError(t, wait.PollUntilContextTimeout(t.Context(), time.Second, 3*time.Minute, true, func(ctx context.Context) (bool, error) {
			out, err := l.try(ctx, n.Name, inspect)
			return err == nil && strings.Contains(string(out), flag) == with, nil
		}), "the controller manager of %s", n.Name)
	}
}
