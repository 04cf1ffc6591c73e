package browser

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// spoilOnRestart waits until the node restarts something on new certificates, and spoils the file
// that then lies at the path. It writes through the descriptor by which it has compared the file, so
// that one that is put back meanwhile is not hit. The returned function says whether it was done.
func (l *labs) spoilOnRestart(t *testing.T, c *cluster, path string) func() error {
	t.Helper()
	const restarts = `cat /var/lib/rotate-certs/rotations/*/journal.jsonl 2>/dev/null | grep -c '"kind":"Restarting"'`
	before, err := l.onNode(t.Context(), c, "touch /run/spoil; "+restarts+"; true")
	require.NoError(t, err)
	old := l.fileSum(t, c, path)
	spoiled := make(chan error, 1)
	go func() {
		_, err := l.onNode(t.Context(), c, `while [ "$(`+restarts+`)" -le `+before+` ]; do
				[ -e /run/spoil ] || { echo "nothing was restarted" >&2; exit 1; }
				sleep 0.02
			done
			exec 3< `+path+`
			[ "$(sha256sum < /proc/self/fd/3)" != "`+old+`" ] || { echo "the old file is back already" >&2; exit 1; }
			echo spoiled > /proc/self/fd/3`)
		spoiled <- err
	}()
	giveUp := func() { _, _ = l.onNode(context.WithoutCancel(t.Context()), c, "rm -f /run/spoil") }
	t.Cleanup(giveUp)
	return func() error {
		giveUp()
		return <-spoiled
	}
}

// TestNodeThatFails spoils the scheduler's new kubeconfig while it restarts: the page says what
// failed, that the old files are back, and what to do next.
func TestNodeThatFails(t *testing.T) {
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	p.openCluster(production)
	p.awaitText("No agents report certificates here", stepLimit)
	p.openDialog()
	p.chooseService("kube-scheduler")
	p.click("dialog button.primary")
	p.awaitPlan()
	before := here.fileSum(t, here.first, schedulerFile)
	spoiled := here.spoilOnRestart(t, here.first, schedulerFile)
	p.save()
	p.recordProgress()
	p.assertEnd("failed and rolled back")
	require.NoError(t, spoiled(), "the file was spoiled")
	text := p.text()
	assert.Contains(t, text, "kube-scheduler")
	assert.Contains(t, text, here.first.node)
	assert.Regexp(t, `(?m)^ *why: .*scheduler\.conf`, text)
	assert.Regexp(t, `(?m)^ *next: kubectl rotate-certs `, text)
	assert.Contains(t, text, "rolled back")
	p.assertAccessible("a rotation that failed")
	assert.Equal(t, before, here.fileSum(t, here.first, schedulerFile), "the old file is back")

	// The cause is removed, and the same choice continues.
	p.click(".path a + a")
	p.openDialog()
	p.chooseService("kube-scheduler")
	p.click("dialog button.primary")
	p.awaitPlan()
	p.save()
	p.assertEnd("succeeded")
}

// TestReader is a user who may only read: nothing else is offered, and the page says why.
func TestReader(t *testing.T) {
	here.kubectl(t, "create", "serviceaccount", "browser-reader")
	t.Cleanup(func() {
		_, err := runCommand(context.WithoutCancel(t.Context()), "kubectl", "delete", "serviceaccount/browser-reader", "clusterrolebinding/browser-reader", "--ignore-not-found")
		assert.NoError(t, err)
	})
	here.kubectl(t, "create", "clusterrolebinding", "browser-reader", "--clusterrole=view", "--serviceaccount=default:browser-reader")
	reader := *here.first
	reader.user = []byte(`{"token": "` + here.kubectl(t, "create", "token", "browser-reader") + `"}`)
	for name, tried := range map[string]struct {
		cluster *cluster
		args    []string
		says    string
	}{
		"by permissions": {cluster: &reader, says: "Rotating is not possible: missing permissions"},
		"by --read-only": {cluster: here.first, args: []string{"--read-only"}, says: "Rotating is not possible: The dashboard was started with --read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startDashboard(t, writeKubeconfig(t, namedCluster{production, tried.cluster}), tried.args...).openDashboard(t)
			p.openCluster(production)
			p.awaitText(tried.says, stepLimit)
			assert.Zero(t, evaluate[int](p, `document.querySelectorAll("main form[method=post], [data-dialog], dialog").length`), "nothing that changes something is offered")
			p.assertAccessible("the page of a cluster for " + name)
			status := evaluate[int](p, `fetch(location.pathname + "/plans", {method: "POST", body: new URLSearchParams({scope: "all", restart: "always"})}).then((answer) => answer.status)`)
			assert.Equal(t, 403, status, "a request for it is refused")
		})
	}
}
