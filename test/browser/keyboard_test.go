package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// focused names the element that has the focus: by what a form sends for it, its id or its text.
const focused = `((e) => e.name ? e.name + (e.value ? "=" + e.value : "") : e.id || (e === document.body ? "body" : e.textContent.trim()))(document.activeElement)`

func (p *page) focused() string {
	p.t.Helper()
	return evaluate[string](p, focused)
}

func (p *page) press(keys string) {
	p.t.Helper()
	p.do("press a key", chromedp.KeyEvent(keys))
}

// tabTo presses the tab key until an element has the focus, and checks that it can be seen there.
func (p *page) tabTo(name string) {
	p.t.Helper()
	var passed []string
	for range 60 {
		p.press(kb.Tab)
		passed = append(passed, p.focused())
		if passed[len(passed)-1] == name {
			p.assertFocusIsVisible(name)
			return
		}
	}
	require.Failf(p.t, "no way by the tab key to "+name, "%q", passed)
}

// assertFocusIsVisible checks that the element with the focus is drawn inside the window and with an outline.
func (p *page) assertFocusIsVisible(name string) {
	p.t.Helper()
	assert.True(p.t, evaluate[bool](p, `((e) => {
		const box = e.getBoundingClientRect();
		return e.matches(":focus-visible") && getComputedStyle(e).outlineStyle !== "none" && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
	})(document.activeElement)`), "the focus is visible on %s", name)
}

// TestRotateAllWithTheKeyboard rotates all services of the first cluster without a pointer.
func TestRotateAllWithTheKeyboard(t *testing.T) {
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	p.await("the rows", stepLimit, hasLoaded(production)+" && "+hasLoaded(staging))
	p.press(kb.Tab)
	assert.Equal(t, "Skip to the content", p.focused())
	p.assertFocusIsVisible("the first link")
	p.press(kb.Enter)
	assert.Equal(t, "main", p.focused())
	p.tabTo(production)
	p.press(kb.Enter)
	p.awaitText("No agents report certificates here", stepLimit)

	p.tabTo("Rotate certificates…")
	p.press(kb.Enter)
	assert.Equal(t, "rotate-title", p.focused())
	p.press(kb.Escape)
	assert.False(t, evaluate[bool](p, `document.querySelector("dialog").open`), "escape closes the dialog")
	assert.Equal(t, "Rotate certificates…", p.focused(), "the focus returns to where it was")

	p.press(kb.Enter)
	p.tabTo("scope=all")
	p.tabTo("service=kubelet")
	p.press(" ")
	assert.Equal(t, "some", evaluate[string](p, `document.querySelector("dialog input[name=scope]:checked").value`))
	p.tabBackTo("scope=some")
	p.press(kb.ArrowUp)
	assert.Equal(t, "scope=all", p.focused())
	assert.Zero(t, evaluate[int](p, `document.querySelectorAll("dialog input[name=service]:checked").length`), "all services exclude single ones")
	for range 60 { // the focus stays in the dialog, or leads to the browser's own buttons
		p.press(kb.Tab)
		assert.True(t, evaluate[bool](p, `document.activeElement === document.body || document.querySelector("dialog").contains(document.activeElement)`), "at %s", p.focused())
	}
	p.tabTo("Plan the rotation")
	p.press(kb.Enter)
	plan := p.awaitPlan()
	for _, service := range []string{"etcd", "kubelet", "kube-apiserver", "kube-scheduler"} {
		assert.Contains(t, plan, service)
	}
	p.tabTo("Save: start this rotation")
	sum := here.fileSum(t, here.first, "/etc/kubernetes/pki/etcd/server.crt")
	p.press(kb.Enter)
	p.await("the page of the rotation", stepLimit, `location.pathname.includes("/rotations/")`)
	p.tabTo("Stop")
	p.assertEnd("succeeded")
	assert.Equal(t, "main", p.focused(), "the button with the focus is no longer on the page: its content has it")
	assert.True(t, strings.Contains(p.text(), "etcd-server"))
	assert.NotEqual(t, sum, here.fileSum(t, here.first, "/etc/kubernetes/pki/etcd/server.crt"))
}

// tabBackTo presses the tab key with shift until an element has the focus.
func (p *page) tabBackTo(name string) {
	p.t.Helper()
	for range 60 {
		p.do("press tab with shift", chromedp.KeyEvent(kb.Tab, chromedp.KeyModifiers(kb.ModifierShift)))
		if p.focused() == name {
			return
		}
	}
	require.Fail(p.t, "no way back by the tab key to "+name)
}
