package dashboard

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeUsers accepts the tokens "token-of-NAME" of the users that it has clusters for.
type fakeUsers struct {
	mu       sync.Mutex
	clusters map[string]Clusters
	until    time.Time
	down     bool
	reviewed int
}

func (f *fakeUsers) ReviewToken(_ context.Context, token string) (User, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reviewed++
	name, is := strings.CutPrefix(token, "token-of-")
	switch {
	case f.down:
		return User{}, errors.New("review token: connection refused")
	case !is || f.clusters[name] == nil:
		return User{}, fmt.Errorf("%w: it has expired", ErrNotAccepted)
	}
	return User{Name: name, Until: f.until}, nil
}

// NamedByProxy trusts a header, as behind a proxy whose certificate was verified.
func (f *fakeUsers) NamedByProxy(r *http.Request) (User, bool) {
	name := r.Header.Get("X-Test-User")
	return User{Name: name, Groups: r.Header.Values("X-Test-Group")}, name != ""
}

func (f *fakeUsers) ClustersOf(u User) Clusters { return f.clusters[u.Name] }

// hostedServer is a dashboard of several users that listens.
type hostedServer struct {
	*Hosted
	t     *testing.T
	users *fakeUsers
	clock *clock
	url   string
	lines []string
	mu    sync.Mutex
}

func startHosted(t *testing.T, secure bool, hosts []string, users *fakeUsers) *hostedServer {
	t.Helper()
	hs := &hostedServer{t: t, users: users, clock: &clock{}}
	hs.Hosted = NewHosted(HostedOptions{Users: users, Hosts: hosts, Version: "v0.9.0", Now: hs.clock.now, Report: func(line string) {
		hs.mu.Lock()
		defer hs.mu.Unlock()
		hs.lines = append(hs.lines, line)
	}})
	server := httptest.NewUnstartedServer(hs.Hosted)
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	t.Cleanup(hs.Close)
	hs.url = server.URL
	return hs
}

func (hs *hostedServer) logged() string {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return strings.Join(hs.lines, "\n")
}

// visitor is a browser with its own cookies.
type visitor struct {
	t      *testing.T
	url    string
	client *http.Client
}

func (hs *hostedServer) newVisitor() *visitor {
	jar, err := cookiejar.New(nil)
	require.NoError(hs.t, err)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is self-signed
	hs.t.Cleanup(transport.CloseIdleConnections)
	return &visitor{t: hs.t, url: hs.url, client: &http.Client{Jar: jar, Transport: transport, Timeout: 30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

func (v *visitor) send(method, path, body string, change func(*http.Request)) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, strings.NewReader(body))
	require.NoError(v.t, err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	if change != nil {
		change(r)
	}
	response, err := v.client.Do(r)
	require.NoError(v.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(v.t, err)
	return answer{status: response.StatusCode, header: response.Header, body: string(text)}
}

// sendNamed sends a request in which a proxy names the user; a POST asks for a plan.
func (v *visitor) sendNamed(method, path, user string, groups ...string) answer {
	v.t.Helper()
	return v.send(method, path, "scope=all&restart=always", func(r *http.Request) {
		r.Header.Set("X-Test-User", user)
		r.Header["X-Test-Group"] = groups
	})
}

func (v *visitor) get(path string) answer {
	v.t.Helper()
	return v.send(http.MethodGet, path, "", nil)
}

func (v *visitor) post(path, form string) answer {
	v.t.Helper()
	return v.send(http.MethodPost, path, form, nil)
}

// signIn signs a user in and returns the browser.
func (hs *hostedServer) signIn(name string) *visitor {
	hs.t.Helper()
	v := hs.newVisitor()
	a := v.post("/sign-in", "token=token-of-"+name)
	require.Equal(hs.t, http.StatusSeeOther, a.status, a.body)
	return v
}

func usersNamed(names ...string) *fakeUsers {
	users := &fakeUsers{clusters: map[string]Clusters{}}
	for _, name := range names {
		users.clusters[name] = oneCluster(&fakeCluster{})
	}
	return users
}

// rotate plans a rotation and starts it.
func (v *visitor) rotate() (rotation string) {
	v.t.Helper()
	planned := v.post("/clusters/prod/plans", "scope=all&restart=always")
	require.Equal(v.t, http.StatusSeeOther, planned.status, planned.body)
	plan := planned.header.Get("Location")
	require.Eventually(v.t, func() bool { return strings.Contains(v.get(plan).body, "Save: start this rotation") }, 20*time.Second, 5*time.Millisecond)
	begun := v.post(plan, "")
	require.Equal(v.t, http.StatusSeeOther, begun.status, begun.body)
	return begun.header.Get("Location")
}
