package dashboard

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestOtherHostsAreRefused(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.signIn()
	_, port, _ := strings.Cut(ts.address, ":")
	for host, want := range map[string]int{
		"127.0.0.1:" + port:        http.StatusOK,
		"localhost:" + port:        http.StatusOK,
		"[::1]:" + port:            http.StatusOK,
		"evil.example:" + port:     http.StatusForbidden,
		"127.0.0.1":                http.StatusForbidden,
		"127.0.0.1:1":              http.StatusForbidden,
		"127.0.0.1.nip.io:" + port: http.StatusForbidden,
		"0.0.0.0:" + port:          http.StatusForbidden,
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			a := b.send(method, "/", nil, func(r *http.Request) {
				r.Host = host
				r.AddCookie(&http.Cookie{Name: cookieName(port), Value: ts.session.cookie})
			})
			assert.Equal(t, want, a.status, "%s %s", method, host)
		}
	}
}

func TestPagesOfOtherSitesCannotPost(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.signIn()
	for name, change := range map[string]func(*http.Request){
		"another site":          func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another port":          func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"an old browser":        func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "http://127.0.0.1:1") },
		"a page without origin": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
		"another port, by both": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-site")
			r.Header.Set("Origin", "http://127.0.0.1:1")
		},
	} {
		a := b.send(http.MethodPost, "/clusters/prod/plans", strings.NewReader("scope=all"), change)
		assert.Equal(t, http.StatusForbidden, a.status, name)
		assert.Contains(t, a.body, "another site", name)
	}
}

// TestPagesOfOtherSitesLoadNothing: they may only open a page in a tab.
func TestPagesOfOtherSitesLoadNothing(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.signIn()
	for _, tt := range []struct {
		site, mode, dest string
		want             int
	}{
		{"same-site", "navigate", "document", http.StatusOK},
		{"cross-site", "navigate", "document", http.StatusOK},
		{"same-site", "cors", "empty", http.StatusForbidden},
		{"same-site", "no-cors", "script", http.StatusForbidden},
		{"same-site", "navigate", "iframe", http.StatusForbidden},
		{"cross-site", "no-cors", "image", http.StatusForbidden},
		{"same-origin", "cors", "empty", http.StatusOK},
		{"none", "navigate", "document", http.StatusOK},
	} {
		a := b.send(http.MethodGet, "/static/script.js", nil, func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", tt.site)
			r.Header.Set("Sec-Fetch-Mode", tt.mode)
			r.Header.Set("Sec-Fetch-Dest", tt.dest)
		})
		assert.Equal(t, tt.want, a.status, "%s %s %s", tt.site, tt.mode, tt.dest)
	}
}

func TestEveryAnswerHasTheHeaders(t *testing.T) {
	ts := startServer(t, Options{Clusters: oneContext{}})
	b := ts.signIn()
	for _, path := range []string{"/", "/nothing", "/static/style.css"} {
		h := b.get(path).header
		assert.Equal(t, contentPolicy, h.Get("Content-Security-Policy"), path)
		assert.Equal(t, "nosniff", h.Get("X-Content-Type-Options"), path)
		assert.Equal(t, "no-referrer", h.Get("Referrer-Policy"), path)
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Resource-Policy"), path)
		assert.Equal(t, "same-origin", h.Get("Cross-Origin-Opener-Policy"), path)
		assert.Equal(t, "no-store", h.Get("Cache-Control"), path)
	}
}
