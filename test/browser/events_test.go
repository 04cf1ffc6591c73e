package browser

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestEventsOfTheWatcherAppear: the page of a cluster shows each event as it comes, without a reload,
// and their text is no HTML.
func TestEventsOfTheWatcherAppear(t *testing.T) {
	kubeconfig := writeKubeconfig(t, namedCluster{production, here.first})
	here.installWatcher(t, kubeconfig, "--policy", noDailyLimit(t, ""))
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	p.openCluster(production)
	require.NoError(t, poll(stepLimit, func() bool {
		p.open(evaluate[string](p, "location.href"))
		return evaluate[bool](p, `/by the reports of the agents/.test(document.body.innerText) && /Watcher 1 of 1 ready/.test(document.body.innerText)`)
	}), "agents report, and the watcher is ready")
	p.await("the events", stepLimit, `document.querySelector("#watcher-events[data-events]") && !document.querySelector("main[data-again]")`)
	p.do("remember the page", chromedp.Evaluate[chromedp.Void](`window.loadedOnce = true`))

	here.plugin(t, "mark-compromised", "--kubeconfig", kubeconfig, "--service", "kube-controller-manager", "--reason", "<b>laptop</b> stolen")
	p.await("the mark", stepLimit, `/is marked as COMPROMISED: <b>laptop<\/b> stolen/.test(document.querySelector("#watcher-events").innerText)`)
	p.await("the end of the rotation", rotationLimit, `/rotation .* succeeded/.test(document.querySelector("#watcher-events").innerText)`)
	assert.True(t, evaluate[bool](p, `window.loadedOnce === true`), "the page was not loaded again")
	assert.True(t, evaluate[bool](p, `document.querySelector("#watcher-events li time").innerText >= document.querySelector("#watcher-events li:last-child time").innerText`), "the newest is the first")
	assert.Equal(t, evaluate[int](p, `document.querySelectorAll("#watcher-events li").length`),
		evaluate[int](p, `new Set(Array.from(document.querySelectorAll("#watcher-events li"), (item) => item.dataset.id)).size`), "each is shown once")
	p.assertAccessible("the page of a cluster with events")
}
