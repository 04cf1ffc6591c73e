package browser

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// Limits of single steps. A machine that runs two clusters besides may be slow.
const (
	stepLimit     = time.Minute
	rotationLimit = 5 * time.Minute
)

// page is a tab of Chromium.
type page struct {
	t   *testing.T
	ctx context.Context
}

// openDashboard starts Chromium and opens the address that the program printed.
func (d *dashboard) openDashboard(t *testing.T) *page {
	t.Helper()
	p := startChromium(t)
	p.open(d.address)
	p.await("the first page", stepLimit, `document.querySelector("#clusters")`)
	return p
}

// startChromium starts Chromium with an empty tab until the test ends.
func startChromium(t *testing.T) *page {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox, chromedp.DisableGPU, chromedp.ExecPath("chromium"),
		// It reaches no other server, and must not try.
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	ctx, end := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(options...))
	t.Cleanup(func() {
		limited, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		_ = chromedp.Cancel(limited) // it waits until Chromium has ended
		end()
	})
	require.NoError(t, chromedp.Do(ctx), "start Chromium")
	p := &page{t: t, ctx: ctx}
	p.setView(wideLight)
	return p
}

// anotherTab opens an address in a second tab of the same browser.
func (p *page) anotherTab(address string) *page {
	p.t.Helper()
	ctx, end := chromedp.NewContext(p.ctx)
	p.t.Cleanup(end)
	require.NoError(p.t, chromedp.Do(ctx), "open a tab")
	other := &page{t: p.t, ctx: ctx}
	other.setView(wideLight)
	other.open(address)
	return other
}

// view is how a page is shown.
type view struct {
	name          string
	scheme        string
	width, height int64
}

var (
	wideLight   = view{"wide-light", "light", 1280, 900}
	wideDark    = view{"wide-dark", "dark", 1280, 900}
	narrowLight = view{"narrow-light", "light", 390, 844}
	narrowDark  = view{"narrow-dark", "dark", 390, 844}
	allViews    = []view{wideLight, wideDark, narrowLight, narrowDark}
)

// setView changes the size of the window and the colours that its user prefers.
func (p *page) setView(v view) {
	p.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: v.scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}}
	options := []chromedp.EmulateViewportOption{}
	if v.width < 600 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateTouch)
	}
	p.do("show the page as "+v.name, chromedp.EmulateViewport(v.width, v.height, options...), chromedp.Func(func(ctx context.Context, tab *chromedp.Target) error {
		_, err := cdp.Call(ctx, tab, emulation.SetEmulatedMedia, media)
		return err
	}))
}

// do carries actions out, within a limit.
func (p *page) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, stepLimit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.fail(what, err)
	}
}

// fail ends the test with what the page shows.
func (p *page) fail(what string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
	defer cancel()
	shown, unread := chromedp.Run(ctx, chromedp.Evaluate[string](`location.pathname + "\n" + document.body.innerText`))
	if unread != nil {
		shown = "the page cannot be read: " + unread.Error()
	}
	require.Failf(p.t, "in the browser: "+what, "%v\nthe page: %s", err, shown)
}

func (p *page) open(address string) {
	p.t.Helper()
	p.do("open "+address, chromedp.Navigate(address))
}

// click clicks the first element that a selector finds.
func (p *page) click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

// evaluate returns the value of an expression in the page, or what a promise becomes.
func evaluate[T any](p *page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, stepLimit)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.fail("evaluate "+expression, err)
	}
	return value
}

// await waits until an expression in the page is true. While a page loads, it is not.
func (p *page) await(what string, limit time.Duration, expression string) {
	p.t.Helper()
	err := poll(limit, func() bool {
		ctx, cancel := context.WithTimeout(p.ctx, 10*time.Second)
		defer cancel()
		so, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		return err == nil && so
	})
	if err != nil {
		p.fail("wait for "+what, err)
	}
}

// poll asks until the answer is yes.
func poll(limit time.Duration, so func() bool) error {
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		if time.Since(began) > limit {
			return fmt.Errorf("not within %s", limit)
		}
		<-tick.C
	}
	return nil
}

// awaitText waits until the page shows a text.
func (p *page) awaitText(text string, limit time.Duration) {
	p.t.Helper()
	p.await(strconv.Quote(text), limit, `document.readyState === "complete" && document.body.innerText.includes(`+strconv.Quote(text)+`)`)
}

func (p *page) text() string {
	p.t.Helper()
	return evaluate[string](p, "document.body.innerText")
}

func (p *page) path() string {
	p.t.Helper()
	return evaluate[string](p, "location.pathname")
}
