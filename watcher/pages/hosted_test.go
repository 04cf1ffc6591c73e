package pages

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

// visitor is a browser that follows redirects.
type visitor struct {
	t      *testing.T
	url    string
	client *http.Client
}

func newVisitor(t *testing.T, url string) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &visitor{t: t, url: url, client: &http.Client{Jar: jar, Timeout: 30 * time.Second}}
}

func (v *visitor) read(response *http.Response, err error) (status int, path, body string) {
	v.t.Helper()
	require.NoError(v.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	require.NoError(v.t, err)
	return response.StatusCode, response.Request.URL.Path, string(text)
}

func (v *visitor) get(path string) (status int, at, body string) {
	v.t.Helper()
	return v.read(v.client.Get(v.url + path)) //nolint:noctx // its client has a limit
}

func (v *visitor) post(path, form string) (status int, at, body string) {
	v.t.Helper()
	values, err := url.ParseQuery(form)
	require.NoError(v.t, err)
	return v.read(v.client.PostForm(v.url+path, values)) //nolint:noctx // its client has a limit
}

// awaitPage reads a page until it contains a text.
func (v *visitor) awaitPage(path, text string) string {
	v.t.Helper()
	body := ""
	require.Eventually(v.t, func() bool {
		_, _, body = v.get(path)
		return strings.Contains(body, text)
	}, 20*time.Second, 5*time.Millisecond, "%s never says %q", path, text)
	return body
}

// TestDashboardOfTheWatcher: from the sign-in to the report of a rotation.
func TestDashboardOfTheWatcher(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": admin, "joe": viewer, "none": nil})
	source, recorder := newSource(t, s, nil)
	var mu sync.Mutex
	var lines []string
	hosted := dashboard.NewHosted(dashboard.HostedOptions{Users: source, Version: "v0.9.0", Now: source.Now, Report: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		lines = append(lines, line)
	}})
	server := httptest.NewServer(hosted)
	t.Cleanup(server.Close)
	t.Cleanup(hosted.Close)

	jane := newVisitor(t, server.URL)
	status, _, body := jane.get("/clusters/prod")
	assert.Equal(t, http.StatusForbidden, status)
	assert.NotContains(t, body, "etcd-server")
	status, _, body = jane.post("/sign-in", "token=of-another-audience")
	assert.Equal(t, http.StatusForbidden, status)
	assert.Contains(t, body, "kubectl create token NAME --namespace NAMESPACE --audience rotate-certs")
	status, at, body := jane.post("/sign-in", "token=token-of-jane&next=/clusters/prod")
	require.Equal(t, http.StatusOK, status)
	assert.Equal(t, "/clusters/prod", at)
	for _, text := range []string{"signed in as jane", "etcd-server", "auto-1", "laptop stolen", "etcd waits for Sunday", "Installed in namespace rotate-certs", "starts no pods"} {
		assert.Contains(t, body, text)
	}

	_, plan, _ := jane.post("/clusters/prod/plans", "scope=all&restart=always")
	jane.awaitPage(plan, "Save: start this rotation")
	assert.Empty(t, s.objects())
	_, rotation, _ := jane.post(plan, "")
	require.Eventually(t, func() bool { return s.objects()[rotationPath] != nil }, 20*time.Second, time.Millisecond)
	assert.Equal(t, "jane", annotationOf(s.objects()[rotationPath]))
	assert.Contains(t, nextEvent(t, recorder), "requested in the dashboard by jane")
	s.setStatus(rotationPath, v1alpha1.StateSucceeded, "done and verified")
	assert.Contains(t, jane.awaitPage(rotation, "done and verified"), "w1", "the node without a report")
	status, _, _ = jane.post("/clusters/prod/marks", "service=etcd&reason=stolen")
	assert.Equal(t, http.StatusOK, status)
	assert.Len(t, s.objects(), 2)
	status, _, _ = jane.post("/clusters/prod/marks/admin-1/delete", "")
	assert.Equal(t, http.StatusForbidden, status)

	joe := newVisitor(t, server.URL)
	_, _, body = joe.post("/sign-in", "token=token-of-joe&next=/clusters/prod")
	assert.Contains(t, body, "etcd-server")
	assert.Contains(t, body, "Rotating is not possible: missing permissions: create certificaterotations.rotate-certs.io")
	for path, form := range map[string]string{"/clusters/prod/plans": "scope=all&restart=always", "/clusters/prod/marks": "service=etcd&reason=x", "/clusters/prod/scan": "", "/clusters/prod/journals": ""} {
		status, _, _ = joe.post(path, form)
		assert.Equal(t, http.StatusForbidden, status, path)
	}
	status, _, _ = joe.get(rotation)
	assert.Equal(t, http.StatusNotFound, status)

	none := newVisitor(t, server.URL)
	_, _, body = none.post("/sign-in", "token=token-of-none&next=/clusters/prod")
	for _, hidden := range []string{"etcd-server", "auto-1", "laptop stolen", "Sunday"} {
		assert.NotContains(t, body, hidden)
	}
	assert.Contains(t, body, "certificates: missing permission: list nodecertificatereports.rotate-certs.io")
	assert.Len(t, s.objects(), 2, "only jane has created something")
	mu.Lock()
	defer mu.Unlock()
	assert.NotContains(t, strings.Join(lines, "\n"), "token-of-")
}
