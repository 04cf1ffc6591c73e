//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/wait"
)

// browser is a browser with the pages of one dashboard.
type browser struct {
	http.Client
	process started
	address string // that was printed
	home    string // path of the first page
}

// openDashboard starts the program and signs in with the address that it prints.
func (l *lab) openDashboard(t *testing.T, args ...string) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b := &browser{process: l.start(t, append([]string{"rotate-certs", "dashboard", "--no-open"}, args...)...)}
	b.Jar = jar
	t.Cleanup(func() { b.process.kill(os.Interrupt) })
	printed := regexp.MustCompile(`http://127\.0\.0\.1:\d+/\S+`)
	require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		b.address = printed.FindString(b.process.stdout.String())
		return b.address != "", nil
	}), "%s", b.process.stderr)
	status, home, page := b.request(t, http.MethodGet, b.address, nil)
	require.Equal(t, http.StatusOK, status, page)
	b.home = home
	return b
}

// request returns the status, address and text of the page that a request leads to.
func (b *browser) request(t *testing.T, method, address string, form url.Values) (status int, at, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Minute, errHangs)
	defer cancel()
	if strings.HasPrefix(address, "/") {
		base, err := url.Parse(b.address)
		require.NoError(t, err)
		address = base.Scheme + "://" + base.Host + address
	}
	r, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(form.Encode()))
	require.NoError(t, err)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	response, err := b.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, response.Request.URL.Path, string(body)
}

// awaitPage reads a page until it has one of the texts.
func (b *browser) awaitPage(t *testing.T, address string, texts ...string) string {
	t.Helper()
	page := ""
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		_, _, page = b.request(t, http.MethodGet, address, nil)
		return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(page, text) }), nil
	})
	require.NoError(t, err, "%s has none of %q:\n%s", address, texts, page)
	return page
}

// clusterPage is the address of the only cluster.
func (b *browser) clusterPage(t *testing.T) string {
	t.Helper()
	_, _, page := b.request(t, http.MethodGet, b.home+"?load=all", nil)
	found := regexp.MustCompile(`href="(` + b.home + `clusters/[^"/?#]+)"`).FindStringSubmatch(page)
	require.NotNil(t, found, page)
	return found[1]
}

// TestDashboard plans and rotates one service in a browser. Afterwards exactly its certificates
// are new, and the same plan is not carried out again.
func TestDashboard(t *testing.T) {
	b := the.openDashboard(t)
	status, _, _ := (&browser{address: b.address}).request(t, http.MethodGet, b.address, nil)
	assert.Equal(t, http.StatusForbidden, status, "the token opens one browser only")
	cluster := b.clusterPage(t)

	_, _, _ = b.request(t, http.MethodPost, cluster+"/scan", url.Values{})
	page := b.awaitPage(t, cluster, "by a scan")
	for _, n := range the.nodes {
		assert.Contains(t, page, n.Name)
	}
	assert.Contains(t, page, "kube-scheduler")

	choice := url.Values{"scope": {"some"}, "service": {"kube-scheduler"}, "restart": {"always"}}
	_, plan, _ := b.request(t, http.MethodPost, cluster+"/plans", choice)
	require.Contains(t, plan, cluster+"/plans/")
	page = b.awaitPage(t, plan, "Save", "could not be made")
	require.NotContains(t, page, "could not be made")
	assert.Contains(t, page, "kube-scheduler restarts on "+the.controlPlanes()[0].Name)

	before := the.snapshots(t)
	ran := the.runningAll(t, []string{"kube-scheduler"}, before)
	_, rotation, _ := b.request(t, http.MethodPost, plan, url.Values{})
	require.Contains(t, rotation, cluster+"/rotations/")
	assert.Contains(t, b.followEvents(t, rotation+"/events"), `"phase":"verified"`)
	page = b.awaitPage(t, rotation, "succeeded", "failed", "interrupted")
	assert.Contains(t, page, "succeeded")
	after, runs := the.snapshots(t), the.running(t)
	var restarted []string
	for _, n := range the.nodes {
		var renewed []string
		for _, s := range the.certificates(t, "kube-scheduler", n, before[n.Name]) {
			renewed = append(renewed, s.cert, s.key)
			the.assertStoredAnew(t, n, s, before[n.Name], after[n.Name])
			restarted = append(restarted, n.Name+"/kube-scheduler")
		}
		slices.Sort(renewed)
		assert.ElementsMatch(t, slices.Compact(renewed), changed(before[n.Name], after[n.Name]), "%s: exactly these files changed", n.Name)
	}
	assert.ElementsMatch(t, restarted, ran.restarted(runs), "exactly these components were restarted")
	list, checked := the.check(t, "--service", "kube-scheduler")
	assert.NotEmpty(t, list.Items, "%s", checked)
	for _, c := range list.Items {
		assert.Equal(t, "OK", c.Status, "%s on %s", c.Name, c.Node)
	}

	_, again, page := b.request(t, http.MethodPost, plan, url.Values{})
	assert.Equal(t, rotation, again, "it shows the rotation of this plan")
	assert.Contains(t, page, "succeeded")
	for _, n := range the.nodes {
		assert.Empty(t, changed(after[n.Name], the.snapshot(t, n.Name)), "%s: nothing was done a second time", n.Name)
	}

	b.process.kill(os.Interrupt)
	ended := <-b.process.outcome
	assert.Zero(t, ended.exit, "%s", ended)
	assert.Contains(t, ended.stderr, "stopping; press Ctrl-C again to stop at once")
}

// followEvents reads the events of a rotation to their end.
func (b *browser) followEvents(t *testing.T, address string) string {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errHangs)
	defer cancel()
	base, err := url.Parse(b.address)
	require.NoError(t, err)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, base.Scheme+"://"+base.Host+address, nil)
	require.NoError(t, err)
	response, err := b.Do(r)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	require.Equal(t, http.StatusOK, response.StatusCode)
	var all strings.Builder
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		all.WriteString(lines.Text() + "\n")
		if lines.Text() == "event: end" {
			return all.String()
		}
	}
	require.NoError(t, lines.Err(), "the events end without an end:\n%s", all.String())
	require.Fail(t, "the events end without an end", all.String())
	return ""
}

// TestDashboardOfAReader: a user who may only read is offered nothing else, and is refused it.
func TestDashboardOfAReader(t *testing.T) {
	the.apply(t, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: dashboard-reader
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: view}
subjects: [{kind: ServiceAccount, name: dashboard-reader, namespace: default}]
`)
	for name, args := range map[string][]string{
		"by rights":      {"--kubeconfig", the.accountKubeconfig(t, "dashboard-reader")},
		"by --read-only": {"--read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			before := the.snapshots(t)
			b := the.openDashboard(t, args...)
			cluster := b.clusterPage(t)
			page := b.awaitPage(t, cluster, "Rotating is not possible: missing permissions", "Rotating is not possible: The dashboard was started with --read-only")
			assert.NotContains(t, page, `href="`+cluster+`/rotate"`)
			assert.NotContains(t, page, `action="`+cluster+`/scan"`)
			for path, form := range map[string]url.Values{
				"/plans": {"scope": {"all"}, "restart": {"always"}},
				"/scan":  {},
				"/marks": {"service": {"etcd"}, "reason": {"x"}},
			} {
				status, _, text := b.request(t, http.MethodPost, cluster+path, form)
				assert.Equal(t, http.StatusForbidden, status, "%s: %s", path, text)
			}
			for _, n := range the.nodes {
				assert.Empty(t, changed(before[n.Name], the.snapshot(t, n.Name)))
			}
		})
	}
}
