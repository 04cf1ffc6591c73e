package browser

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// largestPicture is how large a screenshot may be, so that README.md loads quickly.
const largestPicture = 150 << 10

// TestScreenshots draws the pages on the way from the first one to the end of a rotation, each light
// and dark, wide and on a phone: "make screenshots".
func TestScreenshots(t *testing.T) {
	directory := os.Getenv("SCREENSHOTS")
	if directory == "" {
		t.Skip("SCREENSHOTS names no directory")
	}
	kubeconfig := writeKubeconfig(t, namedCluster{production, here.first}, namedCluster{staging, here.second}, namedCluster{silent, silentServer(t)})
	p := startDashboard(t, kubeconfig).openDashboard(t)
	home := evaluate[string](p, "location.href")
	for _, context := range []string{production, staging} {
		p.open(home)
		p.openCluster(context)
		p.awaitText("No agents report certificates here", stepLimit)
		p.click(`form[action$="/scan"] button`)
		p.awaitText("by a scan", stepLimit)
	}
	p.open(home)
	p.await("all rows", stepLimit, hasLoaded(silent)+" && "+hasLoaded(production)+" && "+hasLoaded(staging))
	p.drawViews(directory, "clusters")
	p.openCluster(production)
	p.drawViews(directory, "cluster")
	p.openDialog()
	p.chooseService("etcd")
	p.drawViews(directory, "dialog")
	p.click("dialog button.primary")
	p.awaitPlan()
	p.drawViews(directory, "plan")
	p.save()
	p.await("progress", stepLimit, `document.querySelectorAll("#log li").length > 1`)
	p.drawViews(directory, "progress")
	p.assertEnd("succeeded")
	p.drawViews(directory, "rotation")
}

// drawViews writes what each view shows as a picture.
func (p *page) drawViews(directory, name string) {
	p.t.Helper()
	for _, v := range allViews {
		p.setView(v)
		shot, err := chromedp.Run(p.ctx, chromedp.CaptureScreenshot())
		require.NoError(p.t, err, name)
		small := withFewColours(p.t, shot)
		assert.Less(p.t, len(small), largestPicture, "%s, %s", name, v.name)
		require.NoError(p.t, os.WriteFile(filepath.Join(directory, "dashboard-"+name+"-"+v.name+".png"), small, 0o600))
	}
	p.setView(wideLight)
}

// withFewColours is a picture with its 256 most frequent colours, which makes it a third as large.
// Text on a plain background has few more.
func withFewColours(t *testing.T, shot []byte) []byte {
	t.Helper()
	full, err := png.Decode(bytes.NewReader(shot))
	require.NoError(t, err)
	count := map[color.RGBA]int{}
	for y := full.Bounds().Min.Y; y < full.Bounds().Max.Y; y++ {
		for x := full.Bounds().Min.X; x < full.Bounds().Max.X; x++ {
			count[color.RGBAModel.Convert(full.At(x, y)).(color.RGBA)]++
		}
	}
	var colours []color.RGBA
	for c := range count {
		colours = append(colours, c)
	}
	slices.SortFunc(colours, func(a, b color.RGBA) int { return count[b] - count[a] })
	var palette color.Palette
	for _, c := range colours[:min(256, len(colours))] {
		palette = append(palette, c)
	}
	few := image.NewPaletted(full.Bounds(), palette)
	draw.Draw(few, few.Bounds(), full, full.Bounds().Min, draw.Src)
	var out bytes.Buffer
	require.NoError(t, (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, few))
	return out.Bytes()
}
