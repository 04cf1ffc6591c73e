//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"
)

// TestComponentThatCannotStartIsRolledBack spoils etcd's new certificate on the second
// node while etcd restarts, as a misconfigured configuration manager would: etcd
// cannot load what the tool put there.
func TestComponentThatCannotStartIsRolledBack(t *testing.T) {
	victims := the.controlPlanes()
	if len(victims) < 2 {
		victims = append(victims, victims[0])
	}
	victim := victims[1].Name
	path := the.pki(t) + "/etcd/server.crt"
	before := the.snapshots(t)
	spoiled := the.spoilOnce(t, victim, path)

	o := the.kubectl(t, "rotate-certs", "--service", "etcd", "-o", "json", "--component-timeout", "20s")
	require.NoError(t, spoiled(), "the file was spoiled: %s", o)
	t.Logf("%s", o)
	assert.Equal(t, 2, o.exit)
	report := parseReport(t, o)
	assert.Equal(t, "RolledBack", report.Result)
	results := report.results()
	assert.Equal(t, "RolledBack", results[victim+"/etcd"])

	for _, n := range the.controlPlanes() {
		after := the.snapshot(t, n.Name)
		switch {
		case n.Name == victim:
			assert.Empty(t, changed(before[victim], after), "the old set is back, byte for byte")
			leaf := after.identity(t, path, the.pki(t)+"/etcd/server.key").leaf
			assert.Equal(t, fingerprint(leaf), fingerprint(served(t, n.IP+":2379")), "the old certificate is served again")
		case results[n.Name+"/etcd"] == "Skipped":
			assert.Empty(t, changed(before[n.Name], after), "later nodes are untouched")
		default:
			assert.Equal(t, "Succeeded", results[n.Name+"/etcd"])
		}
	}
	the.assertClusterIsWhole(t)

	// The same command, once the cause is removed, continues and renews nothing twice. An API
	// server whose etcd did not answer for long connects to it again only after a pause of its own.
	the.awaitAPIServers(t)
	again := the.rotate(t, "--service", "etcd")
	assert.Equal(t, report.ID, again.ID, "the same rotation continues")
	for _, n := range the.controlPlanes() {
		if results[n.Name+"/etcd"] == "Succeeded" {
			assert.Equal(t, "Skipped", again.results()[n.Name+"/etcd"])
		}
	}
	the.assertClusterIsWhole(t)
}

// awaitAPIServers waits until every API server says that it is ready.
func (l *lab) awaitAPIServers(t *testing.T) {
	t.Helper()
	port := apiPort(t, l)
	for _, n := range l.controlPlanes() {
		l.on(t, n.Name, "for i in $(seq 120); do curl -sfk --max-time 5 https://127.0.0.1:"+port+"/readyz && exit 0; sleep 0.5; done; exit 1")
	}
}

// spoilOnce waits until the node restarts something on new certificates, spoils the file
// that then lies at the path, if it is not the one from before, and ends. It writes
// through the descriptor that it read the file through: a file that is put back meanwhile is
// another one, and cannot be hit. The returned function gives up waiting for that
// moment, and says what came of it.
func (l *lab) spoilOnce(t *testing.T, node, path string) func() error {
	t.Helper()
	old := strings.TrimSpace(string(l.on(t, node, "touch /run/spoil; sha256sum < "+path)))
	const restarts = `cat /var/lib/rotate-certs/rotations/*/journal.jsonl 2>/dev/null | grep -c '"kind":"Restarting"'`
	before := strings.TrimSpace(string(l.on(t, node, restarts+"; true")))
	spoiled := make(chan error, 1)
	go func() {
		_, err := l.try(t.Context(), node, `while [ "$(`+restarts+`)" -le `+before+` ]; do
				[ -e /run/spoil ] || { echo "nothing was restarted" >&2; exit 1; }
				sleep 0.02
			done
			exec 3< `+path+`
			[ "$(sha256sum < /proc/self/fd/3)" != "`+old+`" ] || { echo "the old file is back already" >&2; exit 1; }
			echo spoiled > /proc/self/fd/3`)
		spoiled <- err
	}()
	giveUp := func() { _, _ = l.try(context.WithoutCancel(t.Context()), node, "rm -f /run/spoil") }
	t.Cleanup(giveUp)
	return func() error {
		giveUp()
		return <-spoiled
	}
}

// started is a plugin that runs in the background.
type started struct {
	outcome chan outcome
	kill    func(os.Signal)
	stdout  *lockedBuffer
	stderr  *lockedBuffer
}

func (l *lab) start(t *testing.T, args ...string) started {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errHangs)
	cmd := l.command(ctx, args...)
	// A group of its own: the signal must reach the plugin, which kubectl replaced
	// itself by, and nothing else.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, stderr := &lockedBuffer{}, &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	began := time.Now()
	require.NoError(t, cmd.Start())
	s := started{outcome: make(chan outcome, 1), stdout: stdout, stderr: stderr, kill: func(sig os.Signal) { _ = cmd.Process.Signal(sig) }}
	go func() {
		defer cancel()
		err := cmd.Wait()
		code := 0
		if err != nil {
			code = cmd.ProcessState.ExitCode()
		}
		if err := hung(ctx); err != nil {
			_, _ = fmt.Fprintln(stderr, err)
		}
		s.outcome <- outcome{exit: code, stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
	}()
	return s
}

// waitFor waits until the node's own record says so.
func (l *lab) waitForRecord(t *testing.T, kind string, nodes ...string) string {
	t.Helper()
	found := ""
	require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		for _, n := range nodes {
			out, _ := l.try(ctx, n, `cat $(ls -dt /var/lib/rotate-certs/rotations/*/ | head -1)journal.jsonl 2>/dev/null`)
			if strings.Contains(string(out), `"kind":"`+kind+`"`) && !strings.Contains(string(out), `"kind":"Committed"`) {
				found = n
				return true, nil
			}
		}
		return false, nil
	}))
	return found
}

func TestSecondRotationIsRefused(t *testing.T) {
	first := the.start(t, "rotate-certs", "--service", "kube-scheduler", "-o", "json")
	within(t, time.Minute, "the lock", func() bool { return lockIsHeld(t, first) })
	second := the.kubectl(t, "rotate-certs", "--service", "kube-controller-manager", "-o", "json")
	assert.Equal(t, 3, second.exit, "%s", second)
	done := <-first.outcome
	require.Zero(t, done.exit, "%s", done)
	assert.Contains(t, second.stderr, "another rotation holds the lock")
	assert.Contains(t, second.stderr, "rotation "+parseReport(t, done).ID, "the holder is named")
}

// TestADeletedPodFinishesItsCommit deletes the pod that works on a node while that is
// between old and new: its process continues to the end. Without it the cluster cannot be
// judged, so the rotation stops there, and the same command ends it.
func TestADeletedPodFinishesItsCommit(t *testing.T) {
	node := the.controlPlanes()[0]
	before := the.snapshot(t, node.Name)
	run := the.start(t, "rotate-certs", "--service", "kube-scheduler", "--node", node.Name, "-o", "json", "--component-timeout", "10s")
	the.waitForRecord(t, "Committing", node.Name)
	deleted := the.kubectl(t, "-n", "kube-system", "delete", "pod", "--wait=false", "-l", "app.kubernetes.io/name=rotate-certs,app.kubernetes.io/component=rotation")
	require.Zero(t, deleted.exit, "%s", deleted)
	o := <-run.outcome
	require.Equal(t, 2, o.exit, "%s", o)
	first := parseReport(t, o)
	assert.Equal(t, "Succeeded", first.results()[node.Name+"/kube-scheduler"])
	again := the.rotate(t, "--service", "kube-scheduler", "--node", node.Name)
	assert.Equal(t, first.ID, again.ID)
	assert.Equal(t, "Skipped", again.results()[node.Name+"/kube-scheduler"], "it was verified already")
	after := the.snapshot(t, node.Name)
	for _, s := range the.certificates(t, "kube-scheduler", node, after) {
		the.assertStoredAnew(t, node, s, before, after)
	}
	the.assertClusterIsWhole(t)
}

func TestInterruptFinishesTheNodeInProgressAndStops(t *testing.T) {
	const service = "kube-controller-manager"
	var names []string
	for _, n := range the.controlPlanes() {
		names = append(names, n.Name)
	}
	run := the.start(t, "rotate-certs", "--service", service, "-o", "json")
	at := the.waitForRecord(t, "Committing", names...)
	run.kill(syscall.SIGINT)
	o := <-run.outcome
	assert.Equal(t, 130, o.exit, "%s", o)
	report := parseReport(t, o)
	assert.Equal(t, "Succeeded", report.results()[at+"/"+service], "the node in progress was finished")
	if len(names) > 1 {
		assert.Contains(t, report.results(), names[len(names)-1]+"/"+service)
		skipped := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return report.results()[n+"/"+service] != "Skipped" })
		assert.NotEmpty(t, skipped, "later nodes were not touched")
	}
	the.assertClusterIsWhole(t)
	again := the.rotate(t, "--service", service)
	assert.Equal(t, report.ID, again.ID)
	the.assertClusterIsWhole(t)
}

func TestDryRunsChangeNothing(t *testing.T) {
	before, ran := the.snapshots(t), the.running(t)
	for _, args := range []string{"plan --all -o json", "--all --dry-run=server -o json"} {
		o := the.kubectl(t, append([]string{"rotate-certs"}, strings.Fields(args)...)...)
		require.Zero(t, o.exit, "%s", o)
		var plan struct{ Kind string }
		require.NoError(t, json.Unmarshal([]byte(o.stdout), &plan))
		assert.Equal(t, "RotationPlan", plan.Kind)
	}
	for _, n := range the.nodes {
		assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
	}
	assert.Empty(t, ran.restarted(the.running(t)))
}
