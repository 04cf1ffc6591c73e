package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
)

// violation is what axe-core finds.
type violation struct {
	ID    string   `json:"id"`
	Help  string   `json:"help"`
	Where []string `json:"where"`
}

const findViolations = `axe.run(document, {rules: {"target-size": {enabled: true}}}).then((found) =>
	found.violations.map((v) => ({id: v.id, help: v.help, where: v.nodes.map((n) => n.html.slice(0, 200) + " " + n.failureSummary)})))`

// overflowing are the elements that are wider than the window, but for those inside one that scrolls.
const overflowing = `(() => {
	const scrolls = (e) => e && (/auto|scroll|hidden|clip/.test(getComputedStyle(e).overflowX) || scrolls(e.parentElement));
	return [...document.body.querySelectorAll("*")]
		.filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && e.checkVisibility() && !scrolls(e.parentElement))
		.map((e) => e.outerHTML.slice(0, 120));
})()`

// assertAccessible checks the page as it is shown to people: light and dark, wide and on a phone.
func (p *page) assertAccessible(what string) {
	p.t.Helper()
	for _, v := range allViews {
		p.setView(v)
		for _, found := range p.findViolations() {
			assert.Failf(p.t, "axe-core: "+found.ID, "%s, %s: %s\n%s", what, v.name, found.Help, strings.Join(found.Where, "\n"))
		}
		assert.Empty(p.t, evaluate[[]string](p, overflowing), "%s, %s: wider than the window", what, v.name)
	}
	p.setView(wideLight)
}

func (p *page) findViolations() []violation {
	p.t.Helper()
	if !evaluate[bool](p, `"axe" in window`) {
		p.do("load axe-core", chromedp.Evaluate[chromedp.Void](here.axe+"\n;0"))
	}
	return evaluate[[]violation](p, findViolations)
}

// TestAxeFindsWhatIsWrong spoils a page and expects that it is found, so that finding nothing means
// something.
func TestAxeFindsWhatIsWrong(t *testing.T) {
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	p.do("spoil the page", chromedp.Evaluate[chromedp.Void](`document.querySelector("input[name=q]").closest("label").replaceWith(document.querySelector("input[name=q]"));
		document.querySelector("input[name=q]").removeAttribute("placeholder"); document.querySelector("h1").style.color = "#999";
		document.querySelector("footer").style.width = "200vw"; document.querySelector("footer").style.maxWidth = "none"`))
	var ids []string
	for _, found := range p.findViolations() {
		ids = append(ids, found.ID)
	}
	assert.Subset(t, ids, []string{"label", "color-contrast"})
	assert.Contains(t, strings.Join(evaluate[[]string](p, overflowing), " "), "footer")
}
