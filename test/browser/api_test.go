package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requestOf is the part of the page "View in API" about one request.
func requestOf(name string) string { return `section[aria-labelledby="` + name + `"]` }

// sendRequest opens a request on the page "View in API", sends it, and returns the line and the
// text of its answer.
func (p *page) sendRequest(name string) (line, text string) {
	p.t.Helper()
	section := requestOf(name)
	if !evaluate[bool](p, `document.querySelector('`+section+` details').open`) {
		p.click(section + " summary")
	}
	p.click(section + " form button")
	p.await("the answer to "+name, stepLimit, `!document.querySelector('`+section+` form button').disabled && /^\d+ /.test(document.querySelector('`+section+` .answer p').textContent)`)
	assert.True(p.t, evaluate[bool](p, `document.activeElement === document.querySelector('`+section+` .answer')`), "%s: the answer has the focus", name)
	line = evaluate[string](p, `document.querySelector('`+section+` .answer p').textContent`)
	text = evaluate[string](p, `document.querySelector('`+section+` .answer pre').textContent`)
	return line, text
}

// TestViewInAPI shows the requests of a cluster with their command lines, and sends some of them.
func TestViewInAPI(t *testing.T) {
	p := startDashboard(t, here.bothClusters(t)).openDashboard(t)
	p.openCluster(production)
	p.click(`main a[href$="/api"]`)
	p.awaitText("The API of this dashboard", stepLimit)
	p.assertAccessible("the requests of the API")

	const cluster = "getApiV1ClustersId"
	assert.False(t, evaluate[bool](p, `document.querySelector('`+requestOf(cluster)+` details').open`))
	line, text := p.sendRequest(cluster)
	assert.Equal(t, "200 OK", line)
	assert.Contains(t, text, `"context": "`+production+`"`)
	assert.Contains(t, evaluate[string](p, `document.querySelector('`+requestOf(cluster)+` code[id]').innerText`), "curl -sS -H @-")
	p.assertAccessible("an answer of the API")

	line, _ = p.sendRequest("postApiV1ClustersIdScan")
	assert.Equal(t, "202 Accepted", line)
	require.NoError(t, poll(rotationLimit, func() bool {
		_, text := p.sendRequest("getApiV1ClustersIdScan")
		return strings.Contains(text, `"running": false`)
	}), "the scan ends")
	line, text = p.sendRequest("getApiV1ClustersIdCertificates")
	assert.Equal(t, "200 OK", line)
	assert.Contains(t, text, `"node": "`+here.first.node+`"`)
	assert.NotContains(t, p.text(), "PRIVATE KEY")

	line, _ = p.sendRequest("postApiV1ClustersIdHistory")
	assert.Equal(t, "202 Accepted", line)
	require.NoError(t, poll(rotationLimit, func() bool {
		_, text := p.sendRequest("getApiV1ClustersIdHistory")
		return strings.Contains(text, `"kind": "RotationList"`)
	}), "the journals are read")
	line, text = p.sendRequest("getApiV1ClustersIdMarks")
	assert.Equal(t, "200 OK", line)
	assert.Contains(t, text, `"items": []`)

	const plans = "postApiV1ClustersIdPlans"
	p.click(requestOf(plans) + " summary")
	p.do("choose a service that does not exist", chromedp.Evaluate[chromedp.Void](`document.querySelector('`+requestOf(plans)+` textarea').value = '{"services": ["ectd"]}'; 0`))
	line, text = p.sendRequest(plans)
	assert.Equal(t, "422 Unprocessable Entity", line)
	assert.Contains(t, text, "unknown service")
}

// TestViewInAPIWithReadOnly shows every request, and sends those that change nothing.
func TestViewInAPIWithReadOnly(t *testing.T) {
	p := startDashboard(t, here.bothClusters(t), "--read-only").openDashboard(t)
	p.openCluster(production)
	p.click(`main a[href$="/api"]`)
	p.awaitText("The API of this dashboard", stepLimit)
	assert.Zero(t, evaluate[int](p, `document.querySelectorAll("form[data-method=POST]").length`))
	line, _ := p.sendRequest("getV3ClustersId")
	assert.Equal(t, "200 OK", line)
	p.click(requestOf("postV3ClustersId") + " summary")
	p.awaitText("--read-only", stepLimit)
	p.assertAccessible("the requests of the API with --read-only")
}
