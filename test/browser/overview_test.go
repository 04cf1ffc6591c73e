package browser

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
)

// rowOf is the row of a context on the first page, in JavaScript.
func rowOf(context string) string {
	return fmt.Sprintf(`[...document.querySelectorAll("#clusters tbody tr")].find((row) => row.querySelector("th a").textContent === %q)`, context)
}

// hasLoaded says in JavaScript whether the row of a context has been read.
func hasLoaded(context string) string {
	return "!" + rowOf(context) + ".dataset.row"
}

// shownContexts are the contexts of the first page, in their order.
func (p *page) shownContexts() []string {
	p.t.Helper()
	return strings.Fields(evaluate[string](p, `[...document.querySelectorAll("#clusters tbody tr:not([hidden]) th a")].map((a) => a.textContent).join(" ")`))
}

// TestOverview has three contexts: two clusters, and one whose API server does not answer. The rows
// of the clusters do not wait for it.
func TestOverview(t *testing.T) {
	kubeconfig := writeKubeconfig(t, namedCluster{production, here.first}, namedCluster{staging, here.second}, namedCluster{silent, silentServer(t)})
	p := startDashboard(t, kubeconfig).openDashboard(t)
	p.await("the rows of both clusters", stepLimit, hasLoaded(production)+" && "+hasLoaded(staging))
	assert.True(t, evaluate[bool](p, rowOf(silent)+`.getAttribute("aria-busy") === "true"`), "the third one is still loading")
	for _, context := range []string{production, staging} {
		row := evaluate[string](p, rowOf(context)+".innerText")
		assert.NotContains(t, row, "unreachable", context)
		assert.Contains(t, row, "1 node", context)
	}
	p.assertAccessible("the first page while a row loads")

	p.await("the end of the third row", stepLimit, hasLoaded(silent))
	assert.Contains(t, evaluate[string](p, rowOf(silent)+".innerText"), "unreachable")
	assert.Equal(t, []string{silent, production, staging}, p.shownContexts(), "the worst is the first")
	p.await("an announcement", stepLimit, `document.querySelector("#live").textContent === "All clusters are loaded."`)
	p.assertAccessible("the first page")

	p.do("filter by a text", chromedp.SendKeys(chromedp.CSS("input[name=q]"), "stag"+kb.Enter))
	p.await("the filter in the address", stepLimit, `location.search.includes("q=stag") && document.readyState === "complete"`)
	assert.Equal(t, []string{staging}, p.shownContexts())
	p.do("reload", chromedp.Reload())
	assert.Equal(t, []string{staging}, p.shownContexts(), "a reload keeps the filter")

	p.click(`header a`)
	p.await("all rows", stepLimit, hasLoaded(silent))
	p.openCluster(silent)
	p.awaitText("Unreachable since", stepLimit)
	p.assertAccessible("the page of a cluster that is unreachable")
}

// openCluster opens the page of a context by its link on the first page, once no other row replaces
// the one with the link.
func (p *page) openCluster(context string) {
	p.t.Helper()
	p.await("the row of "+context, stepLimit, hasLoaded(context))
	p.do("open the cluster "+context, chromedp.Click(fmt.Sprintf(`//table[@id="clusters"]//th/a[text()=%q]`, context), chromedp.NodeVisible))
	p.await("the page of "+context, stepLimit, fmt.Sprintf(`document.readyState === "complete" && document.querySelector("h1").textContent.startsWith(%q)`, context))
}
