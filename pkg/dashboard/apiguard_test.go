package dashboard

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// TestAPINeedsTheTokenOrTheSession: any other request gets nothing, whatever it sends.
func TestAPINeedsTheTokenOrTheSession(t *testing.T) {
	cluster := newRecordingCluster(nil)
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	b := c.server.signIn()
	_, port, _ := strings.Cut(c.server.address, ":")
	set := func(value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", value) }
	}
	for name, change := range map[string]func(*http.Request){
		"no token":             func(r *http.Request) { r.Header.Del("Authorization") },
		"an empty token":       set("Bearer "),
		"a wrong token":        set("Bearer " + testToken + "x"),
		"a part of the token":  set("Bearer " + testToken[:len(testToken)-1]),
		"another scheme":       set("Digest " + testToken),
		"the session's token":  set("Bearer " + c.server.session.token),
		"the session's cookie": set("Bearer " + c.server.session.cookie),
		"a wrong password":     func(r *http.Request) { r.SetBasicAuth("rotate-certs", "x") },
		"a token in the query": func(r *http.Request) { r.Header.Del("Authorization"); r.URL.RawQuery = "token=" + testToken },
		"the cookie only": func(r *http.Request) {
			r.Header.Del("Authorization")
			r.AddCookie(&http.Cookie{Name: cookieName(port), Value: c.server.session.cookie})
		},
		"the path of the pages": func(r *http.Request) { r.URL.Path = c.server.session.prefix + r.URL.Path },
	} {
		for _, path := range []string{"/v3", "/v3/clusters", "/v3/clusters/prod", "/api/v1/clusters"} {
			a := c.send(http.MethodGet, path, "", change)
			assert.Contains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, a.status, "%s: %s", name, path)
			assert.NotContains(t, a.body, "10.0.0.1", name)
			assert.NotContains(t, a.body, c.server.session.prefix[1:], name)
		}
		assert.GreaterOrEqual(t, c.send(http.MethodPost, "/v3/clusters/prod?action=rotateCertificates", "{}", change).status, 400, name)
	}
	assert.Empty(t, cluster.ran())
	basic := c.send(http.MethodGet, "/v3/clusters", "", func(r *http.Request) {
		user, password, _ := strings.Cut(testToken, ":")
		r.SetBasicAuth(user, password)
	})
	assert.Equal(t, http.StatusOK, basic.status)
	assert.Equal(t, http.StatusOK, c.send(http.MethodGet, "/v3/clusters", "", nil).status)
	own := b.get("/v3/clusters/prod")
	assert.Equal(t, http.StatusOK, own.status)
	assert.Contains(t, own.body, `"self": "http://`+c.server.address+`/v3/clusters/prod"`, "its links are below the prefix, which the test's browser removes")
	assert.Equal(t, http.StatusForbidden, c.server.newBrowser().get("/v3/clusters").status)
}

// TestAPIWithoutTokenAnswersPagesOnly: no token is not the empty token.
func TestAPIWithoutTokenAnswersPagesOnly(t *testing.T) {
	ts := startServer(t, fixedOptions(oneCluster(&fakeCluster{})))
	c := &client{t: t, server: ts, http: ts.newBrowser().client}
	for _, value := range []string{"", "Bearer ", "Bearer", "Basic Og=="} {
		a := c.send(http.MethodGet, "/v3/clusters", "", func(r *http.Request) { r.Header.Set("Authorization", value) })
		assert.Equal(t, http.StatusUnauthorized, a.status, value)
		assert.Contains(t, a.body, "--api-token-file")
	}
	assert.Equal(t, http.StatusOK, ts.signIn().get("/v3/clusters").status)
}

// TestAPIRefusesPagesOfOtherSites, also with the token and for reading, and answers no preflight.
func TestAPIRefusesPagesOfOtherSites(t *testing.T) {
	cluster := newRecordingCluster(nil)
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	b := c.server.signIn()
	for name, header := range map[string][2]string{
		"another site":          {"Origin", "https://evil.example"},
		"another port":          {"Origin", "http://127.0.0.1:1"},
		"https":                 {"Origin", "https://" + c.server.address},
		"a page without origin": {"Origin", "null"},
		"a cross-site request":  {"Sec-Fetch-Site", "cross-site"},
		"a same-site request":   {"Sec-Fetch-Site", "same-site"},
	} {
		change := func(r *http.Request) { r.Header.Set(header[0], header[1]) }
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions} {
			a := c.send(method, "/v3/clusters/prod?action=rotateCertificates", "", change)
			assert.Equal(t, http.StatusForbidden, a.status, "%s %s: %s", method, name, a.body)
			assert.Empty(t, a.header.Get("Access-Control-Allow-Origin"))
			own := b.send(method, "/v3/clusters/prod?action=rotateCertificates", nil, change)
			assert.Equal(t, http.StatusForbidden, own.status, "%s %s, with the session", method, name)
		}
	}
	assert.Empty(t, cluster.ran())
	same := c.send(http.MethodGet, "/v3/clusters", "", func(r *http.Request) { r.Header.Set("Origin", "http://"+c.server.address) })
	assert.Equal(t, http.StatusOK, same.status)
	assert.Empty(t, same.header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "no-store", same.header.Get("Cache-Control"))
}

// TestAPIRefusesOtherHosts: DNS rebinding does not help a page that has guessed nothing.
func TestAPIRefusesOtherHosts(t *testing.T) {
	c := withToken(t, fixedOptions(oneCluster(&fakeCluster{})))
	_, port, _ := strings.Cut(c.server.address, ":")
	for host, want := range map[string]int{"localhost:" + port: http.StatusOK, "evil.example:" + port: http.StatusForbidden, "127.0.0.1": http.StatusForbidden} {
		a := c.send(http.MethodGet, "/v3/clusters", "", func(r *http.Request) { r.Host = host })
		assert.Equal(t, want, a.status, host)
		assert.Equal(t, contentJSON, a.header.Get("Content-Type"), host)
	}
}

// TestAPIOfAReadOnlyDashboard offers and does nothing that changes anything.
func TestAPIOfAReadOnlyDashboard(t *testing.T) {
	cluster := newRecordingCluster(nil)
	options := fixedOptions(oneCluster(&cluster.fakeCluster))
	options.ReadOnly = true
	c := withToken(t, options)
	assert.Empty(t, c.cluster("prod").Actions)
	e := readAs[v3Error](t, c.rotate("prod", "{}"), http.StatusForbidden)
	assert.Equal(t, "PermissionDenied", e.Code)
	assert.Contains(t, e.Message, "--read-only")
	assert.Empty(t, cluster.ran())
}

// TestAPIAsksForThePermission before it plans.
func TestAPIAsksForThePermission(t *testing.T) {
	cluster := newRecordingCluster(nil)
	cluster.state = func(context.Context) (State, error) {
		return State{Denied: map[Right]string{RightRotate: "missing permissions: create pods"}}, nil
	}
	c := withToken(t, fixedOptions(oneCluster(&cluster.fakeCluster)))
	e := readAs[v3Error](t, c.rotate("prod", "{}"), http.StatusForbidden)
	assert.Equal(t, "PermissionDenied", e.Code)
	assert.Contains(t, e.Message, "can not rotate certificates: missing permissions: create pods")
	assert.Empty(t, cluster.ran())
}

func TestTextOfTheAPIDoesNotObeyTerminals(t *testing.T) {
	assert.Equal(t, `"a\u009bb\u202ec é"`, string(escapeControls([]byte("\"a\u009bb\u202ec é\""))))
}
