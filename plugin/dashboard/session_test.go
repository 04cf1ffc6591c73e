package dashboard

import (
	"net/http"
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
	assert.Equal(t, http.StatusSeeOther, b.get(path).status, "the browser that is signed in returns to the first page")
	wrong := thief.get("/open?token=x")
	assert.Equal(t, http.StatusForbidden, wrong.status)
	assert.Contains(t, wrong.body, "not valid")
}

func TestNothingIsServedWithoutTheCookie(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.newBrowser()
	for _, path := range []string{"/", "/static/script.js", "/clusters/prod", "/nothing", "//", "/open/", "/../x"} {
		a := b.get(path)
		assert.Equal(t, http.StatusForbidden, a.status, path)
		assert.NotContains(t, a.body, ts.session.token)
	}
	assert.Equal(t, http.StatusOK, b.get("/static/style.css").status)
}
