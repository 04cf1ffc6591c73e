package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHostedPagesNeedASession(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane"))
	v := hs.newVisitor()
	for _, path := range []string{"/", "/clusters/prod", "/clusters/prod/rotate", "/static/script.js", "/row?context=prod", "/api/v1/clusters", "/v3/clusters", "/open?token=", "/nothing", "//"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			for name, change := range map[string]func(*http.Request){
				"without a cookie": nil,
				"a forged cookie":  func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "rotate-certs-dashboard", Value: "x"}) },
				"an empty cookie":  func(r *http.Request) { r.AddCookie(&http.Cookie{Name: "rotate-certs-dashboard"}) },
				"a bearer token":   func(r *http.Request) { r.Header.Set("Authorization", "Bearer token-of-jane") },
			} {
				a := v.send(method, path, "", change)
				assert.Equal(t, http.StatusForbidden, a.status, "%s %s %s", method, path, name)
				assert.NotContains(t, a.body, "etcd", "%s %s %s", method, path, name)
			}
		}
	}
	assert.Contains(t, v.get("/clusters/prod").body, `name="next" value="/clusters/prod"`)
	assert.Zero(t, hs.users.reviewed)
	assert.Equal(t, http.StatusOK, v.get("/static/style.css").status)
}

func TestHostedSignIn(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane"))
	v := hs.newVisitor()
	for _, form := range []string{"", "token=", "token=of-another-audience", "token=%00", "token=token-of-jane%0ax", "token=" + strings.Repeat("a", longestToken+1)} {
		a := v.post("/sign-in", form)
		assert.Equal(t, http.StatusForbidden, a.status, form)
		assert.Empty(t, a.header.Get("Set-Cookie"))
		assert.Contains(t, a.body, "the token was not accepted")
	}
	assert.Equal(t, 1, hs.users.reviewed, "what is no token is not reviewed")
	assert.NotEqual(t, http.StatusSeeOther, v.post("/sign-in?token=token-of-jane", "").status, "an address must not hold a token")

	a := v.post("/sign-in", "token=+token-of-jane%0A&next="+url.QueryEscape("/clusters/prod?q=x"))
	require.Equal(t, http.StatusSeeOther, a.status, a.body)
	assert.Equal(t, "/clusters/prod?q=x", a.header.Get("Location"))
	cookie := a.header.Get("Set-Cookie")
	for _, part := range []string{"rotate-certs-dashboard=", "Path=/;", "Max-Age=3600", "HttpOnly", "SameSite=Strict"} {
		assert.Contains(t, cookie, part)
	}
	assert.NotContains(t, cookie, "jane")
	page := v.get("/clusters/prod")
	assert.Equal(t, http.StatusOK, page.status)
	assert.Contains(t, page.body, "signed in as jane")
	assert.Contains(t, page.body, "served by the watcher in the cluster")
	assert.NotContains(t, page.body, "View in API")
	assert.Equal(t, http.StatusNotFound, v.get("/clusters/prod/api").status)
	assert.Equal(t, http.StatusNotFound, v.get("/api/v1/clusters").status)

	again := v.post("/sign-in", "token=token-of-jane")
	assert.NotEqual(t, cookie, again.header.Get("Set-Cookie"), "each sign-in has a cookie of its own")
	name, value, _ := strings.Cut(strings.Split(cookie, ";")[0], "=")
	old := hs.newVisitor().send(http.MethodGet, "/", "", func(r *http.Request) { r.AddCookie(&http.Cookie{Name: name, Value: value}) })
	assert.Equal(t, http.StatusForbidden, old.status, "the session before has ended")
	assert.Contains(t, hs.logged(), "signed in: jane")
	assert.NotContains(t, hs.logged(), "token-of-jane")
}

func TestHostedCookieIsSecureWithTLS(t *testing.T) {
	hs := startHosted(t, true, nil, usersNamed("jane"))
	v := hs.newVisitor()
	cookie := v.post("/sign-in", "token=token-of-jane").header.Get("Set-Cookie")
	assert.Contains(t, cookie, "__Host-rotate-certs-dashboard=")
	assert.Contains(t, cookie, "Secure")
	assert.Equal(t, http.StatusOK, v.get("/").status)

	behind := startHosted(t, false, nil, usersNamed("jane")).newVisitor()
	a := behind.send(http.MethodPost, "/sign-in", "token=token-of-jane", func(r *http.Request) { r.Header.Set("X-Forwarded-Proto", "https") })
	assert.Contains(t, a.header.Get("Set-Cookie"), "Secure", "behind an ingress")
}

func TestHostedSessionEnds(t *testing.T) {
	t.Run("after its time", func(t *testing.T) {
		hs := startHosted(t, false, nil, usersNamed("jane"))
		v := hs.signIn("jane")
		hs.clock.seconds.Store(int64(sessionTime/time.Second) - 1)
		assert.Equal(t, http.StatusOK, v.get("/").status)
		hs.clock.seconds.Store(int64(sessionTime / time.Second))
		assert.Equal(t, http.StatusForbidden, v.get("/").status)
	})
	t.Run("with the token", func(t *testing.T) {
		users := usersNamed("jane")
		users.until = testNow.Add(10 * time.Minute)
		hs := startHosted(t, false, nil, users)
		v := hs.signIn("jane")
		hs.clock.seconds.Store(600)
		assert.Equal(t, http.StatusForbidden, v.get("/").status)
	})
	t.Run("by signing out", func(t *testing.T) {
		hs := startHosted(t, false, nil, usersNamed("jane"))
		v := hs.signIn("jane")
		assert.Equal(t, http.StatusMethodNotAllowed, v.get("/sign-out").status, "a link does not sign out")
		assert.Equal(t, http.StatusOK, v.get("/").status)
		a := v.post("/sign-out", "")
		assert.Equal(t, http.StatusSeeOther, a.status)
		assert.Contains(t, a.header.Get("Set-Cookie"), "Max-Age=0")
		assert.Equal(t, http.StatusForbidden, v.get("/").status)
	})
	t.Run("with the dashboard", func(t *testing.T) {
		hs := startHosted(t, false, nil, usersNamed("jane"))
		v := hs.signIn("jane")
		hs.Close()
		assert.Equal(t, http.StatusForbidden, v.get("/").status)
		assert.Equal(t, http.StatusServiceUnavailable, v.post("/sign-in", "token=token-of-jane").status)
	})
}

// TestHostedStreamEndsWithItsSession: a page that follows a rotation sees no more of it.
func TestHostedStreamEndsWithItsSession(t *testing.T) {
	users := usersNamed("jane")
	proceed := make(chan struct{})
	users.clusters["jane"] = oneCluster(&fakeCluster{plan: func(_ context.Context, c Choice) (Plan, error) { return samplePlan(c, runOf(proceed)), nil }})
	hs := startHosted(t, false, nil, users)
	v := hs.signIn("jane")
	rotation := v.rotate()
	ended := make(chan answer, 1)
	go func() { ended <- v.get(rotation + "/events") }()
	require.Eventually(t, func() bool { return len(hs.streams) == 1 }, 20*time.Second, time.Millisecond)
	require.Equal(t, http.StatusSeeOther, v.post("/sign-out", "").status)
	assert.NotContains(t, (<-ended).body, "succeeded")
	close(proceed)
}
