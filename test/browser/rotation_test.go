package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	schedulerFile = "/etc/kubernetes/scheduler.conf"
	managerFile   = "/etc/kubernetes/controller-manager.conf"
)

// ended says in JavaScript whether the page of a rotation shows its end.
const ended = `document.readyState === "complete" && document.querySelector(".outcome .state") && !/in progress|stopping/.test(document.querySelector(".outcome .state").textContent)`

// openDialog opens the dialog on the page of a cluster.
func (p *page) openDialog() {
	p.t.Helper()
	p.click("a[data-dialog=rotate]")
	p.await("the dialog", stepLimit, `document.querySelector("dialog[open]")`)
}

// chooseService chooses one service in the dialog, or on the page that it is without a script.
func (p *page) chooseService(service string) {
	p.t.Helper()
	p.click(`input[name=service][value="` + service + `"]`)
	assert.Equal(p.t, "some", evaluate[string](p, `document.querySelector("input[name=scope]:checked").value`), "a service excludes all services")
}

// awaitPlan waits until the plan has been made, and returns what its page shows.
func (p *page) awaitPlan() string {
	p.t.Helper()
	p.await("the plan", rotationLimit, `document.readyState === "complete" && location.pathname.includes("/plans/") && !/Scanning the nodes/.test(document.body.innerText)`)
	text := p.text()
	require.Contains(p.t, text, "Save: start this rotation")
	return text
}

// save starts the rotation of a plan.
func (p *page) save() {
	p.t.Helper()
	p.click("button.primary")
	p.await("the page of the rotation", stepLimit, `document.readyState === "complete" && location.pathname.includes("/rotations/")`)
}

// assertEnd waits until the rotation has ended, as expected.
func (p *page) assertEnd(want string) {
	p.t.Helper()
	p.await("the end of the rotation", rotationLimit, ended)
	end := strings.TrimSpace(evaluate[string](p, `document.querySelector(".outcome .state").textContent`))
	assert.Equal(p.t, want, end, "%s", p.text())
}

// recordProgress keeps the phases of nodes that the page shows before the end of the rotation.
func (p *page) recordProgress() {
	p.t.Helper()
	p.do("record the progress", chromedp.Evaluate[chromedp.Void](`window.shown = [];
		new MutationObserver(() => {
			const running = /in progress/.test(document.querySelector(".outcome .state").textContent);
			for (const word of document.querySelectorAll("#nodes .word")) if (running) window.shown.push(word.textContent);
		}).observe(document.querySelector("#nodes"), {subtree: true, childList: true, characterData: true})`))
}

func (p *page) recorded() []string {
	p.t.Helper()
	return evaluate[[]string](p, `[...new Set(window.shown)]`)
}

// TestRotateOneService rotates one service of the second cluster in two tabs: both show the
// progress, and a second rotation is led to the one in progress.
func TestRotateOneService(t *testing.T) {
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	p.openCluster(staging)
	cluster := evaluate[string](p, "location.href")
	p.awaitText("No agents report certificates here", stepLimit)
	p.assertAccessible("the page of a cluster that has not been scanned")
	p.click(`form[action$="/scan"] button`)
	p.awaitText("by a scan", stepLimit)
	assert.Contains(t, p.text(), here.second.node)
	p.assertAccessible("the page of a cluster")

	p.openDialog()
	assert.Equal(t, "rotate-title", evaluate[string](p, "document.activeElement.id"))
	p.assertAccessible("the dialog")
	p.chooseService("kube-scheduler")
	p.click("dialog button.primary")
	assert.Contains(t, p.awaitPlan(), "kube-scheduler")
	p.assertAccessible("a plan")

	other := p.anotherTab(cluster + "/rotate")
	other.assertAccessible("the dialog as a page")
	other.chooseService("kube-controller-manager")
	other.click("main button.primary")
	other.awaitPlan()

	scheduler := here.fileSum(t, here.second, schedulerFile)
	manager := here.fileSum(t, here.second, managerFile)
	p.save()
	p.recordProgress()
	other.save()
	other.recordProgress()
	assert.Equal(t, p.path(), other.path(), "the second is led to the one in progress")
	assert.Contains(t, other.text(), "A rotation of this cluster is in progress already")
	p.assertAccessible("a rotation in progress")

	p.assertEnd("succeeded")
	other.assertEnd("succeeded")
	assert.Contains(t, p.recorded(), "verified", "the first tab showed it as it happened")
	assert.Contains(t, other.recorded(), "verified", "and so did the second")
	for _, tab := range []*page{p, other} {
		report := tab.text()
		assert.Contains(t, report, "Report ")
		assert.Contains(t, report, "renewed")
		assert.NotContains(t, report, "PRIVATE KEY")
	}
	p.assertAccessible("a rotation that succeeded")
	assert.NotEqual(t, scheduler, here.fileSum(t, here.second, schedulerFile), "its kubeconfig is new")
	assert.Equal(t, manager, here.fileSum(t, here.second, managerFile), "the second plan was not carried out")

	p.open(cluster)
	p.awaitText("Rotations of this dashboard", stepLimit)
	p.click(`form[action$="/journals"] button`)
	p.await("the journals", stepLimit, `document.querySelector("a[href*='/history/']")`)
	p.click(`a[href*="/history/"]`)
	p.await("the rotation in the journals", stepLimit, `document.readyState === "complete" && location.pathname.includes("/history/")`)
	p.click("main form button")
	p.await("its records", stepLimit, `document.querySelector("ol.log li")`)
	p.assertAccessible("a rotation in the journals")
	p.open(cluster + "/nothing")
	p.assertAccessible("a page that does not exist")
}
