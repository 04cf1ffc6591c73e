package plugin

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// writeKubeconfigs sets KUBECONFIG to two files, of which each has two contexts.
func writeKubeconfigs(t *testing.T, server, hanging string) {
	t.Helper()
	dir := t.TempDir()
	first := `{"apiVersion":"v1","kind":"Config","current-context":"b-test",
"clusters":[{"name":"test","cluster":{"server":"` + server + `"}},{"name":"slow","cluster":{"server":"` + hanging + `"}}],
"users":[{"name":"jane","user":{"token":"canary-token"}}],
"contexts":[{"name":"b-test","context":{"cluster":"test","user":"jane"}},{"name":"c-slow","context":{"cluster":"slow","user":"jane"}}]}`
	second := `{"apiVersion":"v1","kind":"Config",
"clusters":[{"name":"lost","cluster":{"server":"https://127.0.0.1:1","certificate-authority":"/no/such/file"}}],
"users":[{"name":"joe","user":{"client-certificate":"/no/such/file","client-key":"/no/such/file"}}],
"contexts":[{"name":"d lost","context":{"cluster":"lost","user":"joe"}},{"name":"a-none","context":{"cluster":"nowhere","user":"joe"}}]}`
	for name, text := range map[string]string{"first": first, "second": second} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	t.Setenv("KUBECONFIG", filepath.Join(dir, "first")+string(os.PathListSeparator)+filepath.Join(dir, "second"))
	t.Setenv("KUBECACHEDIR", t.TempDir())
}

// dashboardOf are the clusters that the dashboard shows with these flags.
func dashboardOf(t *testing.T, a *app, flags map[string]string) *kubeContexts {
	t.Helper()
	connection := newConnectionFlags()
	for name, value := range flags {
		require.NoError(t, connection.set.Set(name, value))
	}
	clusters, err := a.openContexts(connection, nil)
	require.NoError(t, err)
	return clusters
}

func TestDashboardShowsEveryContext(t *testing.T) {
	s := newAPIServer(t)
	writeKubeconfigs(t, s.URL, "https://127.0.0.1:2")
	a := s.app(genericiooptions.NewTestIOStreamsDiscard())
	clusters := dashboardOf(t, a, nil)
	listed := clusters.Contexts()
	for i := range listed {
		listed[i].Key = "" // see TestContextsOfOneClusterHaveOneKey
	}
	assert.Equal(t, []dashboard.Context{
		{Name: "a-none", Cluster: "nowhere", User: "joe"},
		{Name: "b-test", Cluster: "test", User: "jane", Server: s.URL, Current: true},
		{Name: "c-slow", Cluster: "slow", User: "jane", Server: "https://127.0.0.1:2"},
		{Name: "d lost", Cluster: "lost", User: "joe", Server: "https://127.0.0.1:1"},
	}, listed)

	for name, says := range map[string]string{
		"a-none": "read the kubeconfig: invalid configuration",
		"d lost": "/no/such/file",
		"e":      "the kubeconfig has no context \"e\"\nhint: its contexts are a-none, b-test, c-slow, d lost",
	} {
		c, err := clusters.Open(name)
		if err == nil {
			_, err = c.State(t.Context())
		}
		require.Error(t, err, name)
		assert.Contains(t, hint.TextOf(err), says)
	}
	good, err := clusters.Open("b-test")
	require.NoError(t, err)
	state, err := good.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "v1.37.2", state.Version)
	assert.Equal(t, "kubectl rotate-certs --context b-test", good.(*contextCluster).flags.commandLine())
	own, err := clusters.flags.forContext(clusters.last, "d lost")
	require.NoError(t, err)
	assert.Equal(t, "kubectl rotate-certs --context 'd lost'", own.commandLine(), "a shell must not split it")
}

// TestContextsOfOneClusterHaveOneKey: a tunnel at one address may lead to several clusters.
func TestContextsOfOneClusterHaveOneKey(t *testing.T) {
	tunnel := clientcmdapi.Cluster{Server: "https://127.0.0.1:6443", CertificateAuthorityData: []byte("CA")}
	again := tunnel
	assert.Equal(t, clusterKey(&tunnel), clusterKey(&again))
	for _, change := range []func(*clientcmdapi.Cluster){
		func(c *clientcmdapi.Cluster) { c.Server = "https://127.0.0.1:6444" },
		func(c *clientcmdapi.Cluster) { c.TLSServerName = "b.example" },
		func(c *clientcmdapi.Cluster) { c.ProxyURL = "socks5://127.0.0.1:1080" },
		func(c *clientcmdapi.Cluster) { c.CertificateAuthorityData = []byte("other CA") },
	} {
		other := tunnel
		change(&other)
		assert.NotEqual(t, clusterKey(&tunnel), clusterKey(&other))
	}
}

func TestDashboardShowsTheContextsOfAChangedKubeconfig(t *testing.T) {
	s := newAPIServer(t)
	writeKubeconfigs(t, s.URL, s.URL)
	clusters := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), nil)
	second := filepath.SplitList(os.Getenv("KUBECONFIG"))[1]
	require.NoError(t, os.WriteFile(second, []byte("{"), 0o600))
	assert.Len(t, clusters.Contexts(), 4, "one that cannot be read is not taken")
	require.NoError(t, os.Remove(second))
	assert.Len(t, clusters.Contexts(), 2)
}

// TestContextIsOfOneReading: a context that has vanished from the file since it was read must not
// become the current one, which is another cluster.
func TestContextIsOfOneReading(t *testing.T) {
	s := newAPIServer(t)
	writeKubeconfigs(t, s.URL, "https://127.0.0.1:2")
	clusters := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), nil)
	first := filepath.SplitList(os.Getenv("KUBECONFIG"))[0]
	text, err := os.ReadFile(first)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(first, []byte(strings.ReplaceAll(string(text), "c-slow", "renamed")), 0o600))
	own, err := clusters.flags.forContext(clusters.last, "c-slow")
	require.NoError(t, err)
	conn, err := own.newConnection()
	require.NoError(t, err)
	assert.Equal(t, "https://127.0.0.1:2", conn.config.Host)
	_, err = clusters.Open("c-slow")
	assert.ErrorContains(t, err, `the kubeconfig has no context "c-slow"`)
}

func TestUnchangedKubeconfigIsNotParsedAgain(t *testing.T) {
	s := newAPIServer(t)
	writeKubeconfigs(t, s.URL, s.URL)
	clusters := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), nil)
	before := clusters.last
	clusters.Contexts()
	_, err := clusters.Open("b-test")
	require.NoError(t, err)
	assert.Same(t, before, clusters.last)
}

func TestFlagsReplacePartsOfAParsedContext(t *testing.T) {
	s := newAPIServer(t)
	writeKubeconfigs(t, s.URL, "https://127.0.0.1:2")
	flags := map[string]string{"context": "b-test", "cluster": "slow", "as": "joe", "as-group": "admins", "as-user-extra": "reason=drill", "request-timeout": "7s"}
	opened, err := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), flags).Open("b-test")
	require.NoError(t, err)
	config := opened.(*contextCluster).conn.config
	assert.Equal(t, "https://127.0.0.1:2", config.Host)
	assert.Equal(t, "joe", config.Impersonate.UserName)
	assert.Equal(t, []string{"admins"}, config.Impersonate.Groups)
	assert.Equal(t, map[string][]string{"reason": {"drill"}}, config.Impersonate.Extra)
	assert.Equal(t, 7*time.Second, config.Timeout)
	assert.Equal(t, "canary-token", config.BearerToken)
}

// TestDashboardPromptsOnNoTerminal: a program of the kubeconfig that signs in must not wait there.
func TestDashboardPromptsOnNoTerminal(t *testing.T) {
	s := newAPIServer(t)
	file := filepath.Join(t.TempDir(), "config")
	require.NoError(t, os.WriteFile(file, []byte(`{"apiVersion":"v1","kind":"Config","current-context":"sso",
"clusters":[{"name":"test","cluster":{"server":"https://127.0.0.1:1"}}],"contexts":[{"name":"sso","context":{"cluster":"test","user":"jane"}}],
"users":[{"name":"jane","user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":"/bin/false","interactiveMode":"Always"}}}]}`), 0o600))
	t.Setenv("KUBECONFIG", file)
	t.Setenv("KUBECACHEDIR", t.TempDir())
	opened, err := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), nil).Open("sso")
	require.NoError(t, err)
	program := opened.(*contextCluster).conn.config.ExecProvider
	assert.True(t, program.StdinUnavailable)
	assert.Contains(t, program.StdinUnavailableMessage, "sign in with kubectl first")
	_, err = opened.State(t.Context())
	assert.ErrorContains(t, err, "exec plugin cannot support interactive mode")
}

func TestDashboardOfOneContext(t *testing.T) {
	s := newAPIServer(t)
	writeKubeconfigs(t, "https://127.0.0.1:1", "https://127.0.0.1:2")
	a := s.app(genericiooptions.NewTestIOStreamsDiscard())
	for name, tt := range map[string]struct {
		flags  map[string]string
		want   string
		server string
	}{
		"--context": {map[string]string{"context": "c-slow"}, "c-slow", "https://127.0.0.1:2"},
		"--server":  {map[string]string{"server": s.URL}, "b-test", s.URL},
		"--user":    {map[string]string{"user": "joe"}, "b-test", "https://127.0.0.1:1"},
		"both":      {map[string]string{"context": "d lost", "server": s.URL}, "d lost", s.URL},
	} {
		t.Run(name, func(t *testing.T) {
			shown := dashboardOf(t, a, tt.flags).Contexts()
			require.Len(t, shown, 1)
			assert.Equal(t, tt.want, shown[0].Name)
			assert.Equal(t, tt.server, shown[0].Server)
			assert.True(t, shown[0].Current)
		})
	}
	flags := newConnectionFlags()
	*flags.Context = "e"
	require.NoError(t, flags.set.Set("context", "e"))
	_, err := a.openContexts(flags, nil)
	assert.Equal(t, "the kubeconfig has no context \"e\"\nhint: its contexts are a-none, b-test, c-slow, d lost", hint.TextOf(err))
}

func TestDashboardWithoutAKubeconfig(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	s := newAPIServer(t)
	a := s.app(genericiooptions.NewTestIOStreamsDiscard())
	_, err := a.openContexts(newConnectionFlags(), nil)
	assert.ErrorIs(t, err, errNoKubeconfig)

	only := dashboardOf(t, a, map[string]string{"server": s.URL})
	require.Equal(t, []dashboard.Context{{Name: s.URL, Server: s.URL, Current: true}}, only.Contexts())
	c, err := only.Open(s.URL)
	require.NoError(t, err)
	state, err := c.State(t.Context())
	require.NoError(t, err)
	assert.Equal(t, 2, state.Nodes)
}

// TestHangingClusterDoesNotHoldUpTheOthers: its API server takes requests and never answers.
func TestHangingClusterDoesNotHoldUpTheOthers(t *testing.T) {
	s := newAPIServer(t)
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(func() { close(release); hanging.Close() })
	writeKubeconfigs(t, s.URL, hanging.URL)
	clusters := dashboardOf(t, s.app(genericiooptions.NewTestIOStreamsDiscard()), nil)
	slow, err := clusters.Open("c-slow")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = slow.State(ctx)
	require.Error(t, err)
	assert.Contains(t, err.Error(), "the API server at "+hanging.URL+" does not answer in time")
	assert.Contains(t, hint.TextOf(err), "\nhint: is it running, and can this machine reach it?")

	other, err := clusters.Open("b-test")
	require.NoError(t, err)
	_, err = other.State(t.Context())
	assert.NoError(t, err)
}
