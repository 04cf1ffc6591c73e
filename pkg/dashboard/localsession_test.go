package dashboard

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

type oneContext struct{ Clusters }

func (oneContext) Contexts() []Context { return []Context{{Name: "prod"}} }

func TestTokenIsUsedOnce(t *testing.T) {
	lines := make(chan string, 10)
	ts := startServer(t, Options{Clusters: oneContext{}, Report: func(line string) { lines <- line }})
	path := strings.TrimPrefix(ts.open, "http://"+ts.address)

	thief := ts.newBrowser()
	head := thief.send(http.MethodHead, path, nil, nil)
	assert.Equal(t, http.StatusForbidden, head.status, "HEAD does not use the token up")
	prefetch := thief.send(http.MethodGet, path, nil, func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch") })
	assert.Equal(t, http.StatusForbidden, prefetch.status, "a prefetch does not use it up either")

	b := ts.newBrowser()
	opened := b.get(path)
	require.Equal(t, http.StatusSeeOther, opened.status)
	assert.Equal(t, "/", opened.header.Get("Location"))
	cookie := opened.header.Get("Set-Cookie")
	assert.Contains(t, cookie, "HttpOnly")
	assert.Contains(t, cookie, "SameSite=Strict")
	_, port, _ := strings.Cut(ts.address, ":")
	assert.Contains(t, cookie, "Path="+ts.session.prefix+"/;", "other ports do not get it")
	assert.Contains(t, cookie, port, "two dashboards do not replace each other's cookie")
	assert.NotContains(t, cookie, ts.session.token)
	assert.Equal(t, http.StatusOK, b.get("/").status)

	assert.Empty(t, lines)
	again := thief.get(path)
	require.Len(t, lines, 1, "the operator sees it on the terminal")
	assert.Contains(t, <-lines, "opened again")
	assert.Equal(t, http.StatusForbidden, again.status)
	assert.Contains(t, again.body, "used already")
	assert.Empty(t, again.header.Get("Set-Cookie"))
	wrong := thief.get("/open?token=x")
	assert.Equal(t, http.StatusForbidden, wrong.status)
	assert.Contains(t, wrong.body, "not valid")
}

// TestTokenFromAFile: a browser sends a strict cookie with no redirect that another site has begun,
// and a file counts as one.
func TestTokenFromAFile(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.newBrowser()
	opened := b.send(http.MethodGet, strings.TrimPrefix(ts.open, "http://"+ts.address), nil, func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	})
	require.Equal(t, http.StatusOK, opened.status)
	assert.Equal(t, "0; url="+ts.session.prefix+"/", opened.header.Get("Refresh"))
	assert.NotEmpty(t, opened.header.Get("Set-Cookie"))
	assert.Equal(t, http.StatusOK, b.get("/").status)
}

func TestNothingIsServedWithoutTheCookie(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.newBrowser()
	for _, path := range []string{"/", "/static/script.js", "/clusters/prod", "/nothing", "//", "/open/", "/../x"} {
		a := b.get(path)
		assert.Equal(t, http.StatusForbidden, a.status, path)
		assert.NotContains(t, a.body, ts.session.token)
	}
	response, err := b.client.Get("http://" + ts.address + "/static/style.css") //nolint:noctx // its client has a limit
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusOK, response.StatusCode)
}

// TestPrefixIsKnownToTheBrowserOnly: no page outside it names it, and every link of a page inside
// leads inside.
func TestPrefixIsKnownToTheBrowserOnly(t *testing.T) {
	cluster := &fakeCluster{}
	ts := startServer(t, fixedOptions(oneCluster(cluster)))
	b := ts.signIn()
	plan := b.plan("/clusters/prod")
	rotation := b.save(plan)
	b.awaitPage(rotation, "succeeded")
	read := func(path string) string {
		response, err := b.client.Get("http://" + ts.address + path) //nolint:noctx // its client has a limit
		require.NoError(t, err)
		defer response.Body.Close()
		text, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(text) + response.Header.Get("Location")
	}
	prefix := ts.session.prefix
	for _, path := range []string{"/", "/open", "/open?token=" + ts.session.token, "/static/script.js", "/static/style.css", "/clusters/prod", "//", prefix[:5] + "/", "/x" + prefix + "/"} {
		assert.NotContains(t, read(path), prefix[1:], path)
	}
	link := regexp.MustCompile(`(?:href|action|src|data-row|data-stream|data-send)="(/[^"]*)"`)
	for _, path := range []string{"/", "/clusters/prod", "/clusters/prod/rotate", "/clusters/prod/mark", "/clusters/prod/api", plan, rotation, "/clusters/prod/history/7f3c2a", "/nothing", "/row?context=prod"} {
		found := link.FindAllStringSubmatch(read(prefix+path), -1)
		assert.NotEmpty(t, found, path)
		for _, address := range found {
			assert.True(t, strings.HasPrefix(address[1], prefix+"/"), "%s: %s", path, address[1])
		}
	}
}
