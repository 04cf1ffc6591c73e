package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHostedSessionsAreSeparate(t *testing.T) {
	users := usersNamed("jane", "joe")
	denied := sampleState(1)
	denied.Certificates = nil
	denied.Watcher = nil
	denied.Rotations = nil
	denied.Marks = nil
	denied.Denied = map[Right]string{RightRotate: "missing permissions: create certificaterotations", RightMark: "missing permissions: create compromisedcertificates"}
	planned := 0
	users.clusters["joe"] = oneCluster(&fakeCluster{
		state: func(context.Context) (State, error) { return denied, nil },
		plan:  func(_ context.Context, c Choice) (Plan, error) { planned++; return samplePlan(c, runOf(nil)), nil },
	})
	hs := startHosted(t, false, nil, users)
	jane := hs.signIn("jane")
	assert.Contains(t, jane.get("/clusters/prod").body, "etcd-client")
	rotation := jane.rotate()
	assert.Equal(t, http.StatusOK, jane.get(rotation).status)

	joe := hs.signIn("joe")
	page := joe.get("/clusters/prod")
	assert.Contains(t, page.body, "missing permissions: create certificaterotations")
	assert.NotContains(t, page.body, "etcd-client", "what jane was shown is no answer to joe")
	assert.NotContains(t, joe.get("/?load=all").body, "of "+"23")
	assert.Equal(t, http.StatusNotFound, joe.get(rotation).status)
	assert.Equal(t, http.StatusNotFound, joe.post(rotation+"/stop", "").status)
	for path, form := range map[string]string{"/clusters/prod/plans": "scope=all&restart=always", "/clusters/prod/marks": "service=etcd&reason=x"} {
		assert.Equal(t, http.StatusForbidden, joe.post(path, form).status, path)
	}
	assert.Zero(t, planned)
}

func TestHostedRefusesForeignRequests(t *testing.T) {
	hs := startHosted(t, false, []string{"certs.example.org"}, usersNamed("jane"))
	v := hs.signIn("jane") // at 127.0.0.1, as through a forwarded port
	for name, change := range map[string]func(*http.Request){
		"another site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"another port":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"an old browser": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "http://evil.example") },
		"another name":   func(r *http.Request) { r.Host = "evil.example" },
		"a longer name":  func(r *http.Request) { r.Host = "certs.example.org.evil.example" },
	} {
		for _, path := range []string{"/clusters/prod/plans", "/sign-in", "/sign-out"} {
			a := v.send(http.MethodPost, path, "scope=all&token=token-of-jane", change)
			assert.Equal(t, http.StatusForbidden, a.status, "%s %s", name, path)
			assert.Empty(t, a.header.Get("Set-Cookie"), "%s %s", name, path)
		}
	}
	for host, want := range map[string]int{"certs.example.org": http.StatusSeeOther, "CERTS.example.org:8443": http.StatusSeeOther, "localhost:1": http.StatusSeeOther, "": http.StatusSeeOther} {
		a := v.send(http.MethodPost, "/sign-in", "token=token-of-jane", func(r *http.Request) { r.Host = host })
		assert.Equal(t, want, a.status, host)
	}
	assert.Equal(t, http.StatusOK, v.get("/").status)
	assert.Equal(t, http.StatusForbidden, v.send(http.MethodGet, "/", "", func(r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-Mode", "no-cors")
	}).status, "loaded as a part of another page")
	for _, path := range []string{"/sign-in", "/clusters/prod/plans"} {
		assert.Equal(t, http.StatusRequestEntityTooLarge, v.post(path, "token="+strings.Repeat("a", maxBody)).status, path)
	}
}

// TestHostedLinkOfAnotherSite: the browser sends no strict cookie with it.
func TestHostedLinkOfAnotherSite(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane"))
	link := func(path string) answer {
		return hs.newVisitor().send(http.MethodGet, path, "", func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
		})
	}
	assert.Equal(t, "0; url=/clusters/prod?q=x", link("/clusters/prod?q=x").header.Get("Refresh"))
	assert.Equal(t, "0; url=/", link("//evil.example/").header.Get("Refresh"))
	for given, want := range map[string]string{"/": "/", "/clusters/a%20b": "/clusters/a%20b", "": "/", "//evil.example": "/", `/\evil.example`: "/",
		"https://evil.example": "/", "/sign-in": "/", "/sign-out": "/", "javascript:alert(1)": "/"} {
		assert.Equal(t, want, localPath(given), given)
	}
}

func TestHostedFailedSignInsAreBounded(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane"))
	jane := hs.signIn("jane")
	v := hs.newVisitor()
	for range mostFailures {
		require.Equal(t, http.StatusForbidden, v.post("/sign-in", "token=guess").status)
	}
	before := hs.users.reviewed
	a := v.post("/sign-in", "token=token-of-jane")
	assert.Equal(t, http.StatusTooManyRequests, a.status)
	assert.Equal(t, "60", a.header.Get("Retry-After"))
	assert.Equal(t, before, hs.users.reviewed)
	assert.Equal(t, http.StatusOK, jane.get("/").status, "those who are signed in do not notice")
	hs.clock.seconds.Store(60)
	assert.Equal(t, http.StatusSeeOther, v.post("/sign-in", "token=token-of-jane").status)

	hs.users.down = true
	a = v.post("/sign-in", "token=token-of-jane")
	assert.Equal(t, http.StatusServiceUnavailable, a.status, "no verdict is no refusal")
	assert.Contains(t, a.body, "connection refused")
}

func TestHostedSessionsAreBounded(t *testing.T) {
	names := []string{"jane"}
	for n := range mostSessions {
		names = append(names, fmt.Sprintf("user%d", n))
	}
	hs := startHosted(t, false, nil, usersNamed(names...))
	first := hs.signIn("jane")
	for n := range mostOfOneUser {
		hs.clock.seconds.Store(int64(n + 1))
		hs.signIn("jane")
	}
	assert.Equal(t, http.StatusForbidden, first.get("/").status, "the oldest of one user is replaced")
	for n := range mostSessions - mostOfOneUser {
		hs.signIn(names[n+1])
	}
	assert.Equal(t, http.StatusServiceUnavailable, hs.newVisitor().post("/sign-in", "token=token-of-"+names[mostSessions]).status)
	hs.clock.seconds.Store(2 * int64(sessionTime/time.Second))
	hs.signIn(names[mostSessions])
	assert.Len(t, hs.sessions.byKey, 1, "those whose time is over are dropped")
}

// TestHostedUnusedSessionsKeepNoCertificates: each would keep a list of another age.
func TestHostedUnusedSessionsKeepNoCertificates(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane", "joe"))
	jane := hs.signIn("jane")
	joe := hs.signIn("joe")
	kept := func() (count int) {
		for _, each := range hs.sessions.byKey {
			if each.server.states.latestResult("prod").Value != nil {
				count++
			}
		}
		return count
	}
	require.Equal(t, http.StatusOK, jane.get("/clusters/prod").status)
	require.Equal(t, http.StatusOK, joe.get("/clusters/prod").status)
	assert.Equal(t, 2, kept())
	hs.clock.seconds.Store(int64(time.Minute / time.Second))
	assert.Contains(t, joe.get("/clusters/prod").body, "etcd-client")
	assert.Equal(t, 1, kept())
	assert.Contains(t, jane.get("/clusters/prod").body, "etcd-client", "they are read again")

	first := ""
	for n := range plansOfOneUser + 1 {
		planned := jane.post("/clusters/prod/plans", "scope=all&restart=always")
		require.Equal(t, http.StatusSeeOther, planned.status)
		path := planned.header.Get("Location")
		if n == 0 {
			first = path
		}
		require.Eventually(t, func() bool { return strings.Contains(jane.get(path).body, "Save: start this rotation") }, 20*time.Second, 5*time.Millisecond)
	}
	assert.Equal(t, http.StatusNotFound, jane.get(first).status, "the oldest plan is dropped")
}

func TestHostedUserOfAProxy(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane"))
	named := func(v *visitor, method, path string, groups ...string) answer {
		return v.sendNamed(method, path, "jane", groups...)
	}
	v := hs.newVisitor()
	a := named(v, http.MethodGet, "/clusters/prod", "operators")
	assert.Equal(t, http.StatusOK, a.status)
	assert.Contains(t, a.body, "signed in as jane")
	assert.NotContains(t, a.body, "Sign out", "the proxy would sign in again")
	assert.Empty(t, a.header.Get("Set-Cookie"))
	plan := named(v, http.MethodPost, "/clusters/prod/plans", "operators").header.Get("Location")
	assert.Equal(t, http.StatusOK, named(v, http.MethodGet, plan, "operators").status)
	assert.Equal(t, http.StatusNotFound, named(v, http.MethodGet, plan).status, "without the group it is another session")
	assert.Equal(t, http.StatusForbidden, v.get(plan).status, "nothing is left in the browser")
	hs.clock.seconds.Store(int64(sessionTime/time.Second) - 1)
	require.Equal(t, http.StatusOK, named(v, http.MethodGet, plan, "operators").status)
	hs.clock.seconds.Store(2*int64(sessionTime/time.Second) - 2)
	assert.Equal(t, http.StatusOK, named(v, http.MethodGet, plan, "operators").status, "it ends an hour after the last request")
}

// TestHostedFirstRequestsShareASession: what was planned in one of two sessions would be lost.
func TestHostedFirstRequestsShareASession(t *testing.T) {
	hs := startHosted(t, false, nil, usersNamed("jane", "joan"))
	user := User{Name: "jane"}
	key := "proxy " + user.identity()
	// Both requests have found no session, and each begins one.
	require.Nil(t, hs.sessions.findSession(key))
	first, err := hs.addSession(key, user, true)
	require.NoError(t, err)
	second, err := hs.addSession(key, user, true)
	require.NoError(t, err)
	assert.Same(t, first, second)
	require.NoError(t, first.open.Err())

	var pages sync.WaitGroup
	plans := make([]string, 2)
	for n := range plans {
		pages.Go(func() {
			plans[n] = hs.newVisitor().sendNamed(http.MethodPost, "/clusters/prod/plans", "joan").header.Get("Location")
		})
	}
	pages.Wait()
	for _, plan := range plans {
		require.NotEmpty(t, plan)
		assert.Equal(t, http.StatusOK, hs.newVisitor().sendNamed(http.MethodGet, plan, "joan").status)
	}
	assert.Len(t, hs.sessions.byKey, 2)
}
