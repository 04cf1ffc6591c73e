//go:build e2e

package e2e

import (
	"context"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
)

// forwardDashboard opens the dashboard of the watcher through a forwarded port, not signed in.
func (l *lab) forwardDashboard(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b := &browser{process: l.start(t, "--namespace", "rotate-certs", "port-forward", "service/rotate-certs-dashboard", ":80"), home: "/"}
	b.Jar = jar
	t.Cleanup(func() { b.process.kill(os.Interrupt) })
	printed := regexp.MustCompile(`127\.0\.0\.1:\d+`)
	require.NoError(t, wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		b.address = "http://" + printed.FindString(b.process.stdout.String())
		return b.address != "http://", nil
	}), "%s", b.process.stderr)
	return b
}

// signInAs signs in with a token of a new ServiceAccount that has a role.
func (b *browser) signInAs(t *testing.T, account, role string) {
	t.Helper()
	the.accountKubeconfig(t, account) // creates it
	the.apply(t, `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: `+account+`}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "`+role+`"}
subjects: [{kind: ServiceAccount, name: `+account+`, namespace: default}]
`)
	other := the.kubectl(t, "create", "token", account, "--namespace", "default")
	require.Zero(t, other.exit, "%s", other)
	status, _, page := b.request(t, http.MethodPost, "/sign-in", url.Values{"token": {other.stdout}})
	assert.Equal(t, http.StatusForbidden, status, "a token for the API server is refused: %s", page)
	token := the.kubectl(t, "create", "token", account, "--namespace", "default", "--audience", "rotate-certs")
	require.Zero(t, token.exit, "%s", token)
	status, _, page = b.request(t, http.MethodPost, "/sign-in", url.Values{"token": {token.stdout}})
	require.Equal(t, http.StatusOK, status, page)
	require.Contains(t, page, "signed in as system:serviceaccount:default:"+account)
}

// TestDashboardInTheCluster: a user without kubectl plans and starts a rotation, which the watcher
// carries out; a user who may only read sees the same and starts nothing.
func TestDashboardInTheCluster(t *testing.T) {
	the.installWatcher(t, "--dashboard")
	b := the.forwardDashboard(t)
	status, _, page := b.request(t, http.MethodGet, "/", nil)
	assert.Equal(t, http.StatusForbidden, status, page)
	b.signInAs(t, "page-starter", "rotate-certs:start")
	cluster := b.clusterPage(t)
	page = b.awaitPage(t, cluster, "kube-scheduler")
	assert.Contains(t, page, "starts no pods")
	before := the.snapshots(t)
	_, plan, _ := b.request(t, http.MethodPost, cluster+"/plans", url.Values{"scope": {"some"}, "service": {"kube-scheduler"}, "restart": {"always"}})
	page = b.awaitPage(t, plan, "Save", "could not be made")
	require.NotContains(t, page, "could not be made")
	_, rotation, _ := b.request(t, http.MethodPost, plan, url.Values{})
	require.Contains(t, rotation, cluster+"/rotations/")
	page = ""
	within(t, limit, "the end of the rotation", func() bool {
		_, _, page = b.request(t, http.MethodGet, rotation, nil)
		return !strings.Contains(page, "Stop following")
	})
	require.Contains(t, page, "Report ", page)
	for _, n := range the.controlPlanes() {
		assert.NotEmpty(t, changed(before[n.Name], the.snapshot(t, n.Name)), n.Name)
	}
	rotations := the.rotations(t)
	require.NotEmpty(t, rotations)
	created := rotations[len(rotations)-1]
	assert.Equal(t, "system:serviceaccount:default:page-starter", created.Annotations["rotate-certs.io/requested-by"])
	events, err := the.client.CoreV1().Events(metav1.NamespaceDefault).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=RequestedByUser,involvedObject.name=" + created.Name})
	require.NoError(t, err)
	require.Len(t, events.Items, 1)
	assert.Contains(t, events.Items[0].Message, "page-starter")

	reader := the.forwardDashboard(t)
	reader.signInAs(t, "page-reader", "rotate-certs:view")
	assert.Contains(t, reader.awaitPage(t, cluster, "kube-scheduler"), "Rotating is not possible: missing permissions: create certificaterotations.rotate-certs.io")
	status, _, _ = reader.request(t, http.MethodPost, cluster+"/plans", url.Values{"scope": {"all"}, "restart": {"always"}})
	assert.Equal(t, http.StatusForbidden, status)
	status, _, _ = reader.request(t, http.MethodGet, rotation, nil)
	assert.Equal(t, http.StatusNotFound, status, "it is of another session")
}
