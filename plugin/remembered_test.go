package plugin

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func TestErrorNamesTheNodesThatTheAPIServerListedBefore(t *testing.T) {
	s := newAPIServer(t)
	t.Setenv("KUBECACHEDIR", s.cache)
	flags := newConnectionFlags()
	require.NoError(t, flags.set.Parse([]string{"--kubeconfig", "testdata/kubeconfig", "--server", s.URL}))
	conn, err := flags.newConnection()
	require.NoError(t, err)
	c, err := (&app{now: time.Now}).connectCluster(conn)
	require.NoError(t, err)
	_, err = c.api.Nodes(t.Context())
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(s.cache, "rotate-certs", "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)

	_, _, stderr := s.run(t, "recover")
	assert.Contains(t, stderr, "and the workers; the nodes of "+modified(t, files[0])+": --host cp1,w1\n")

	s.Close()
	for _, command := range []string{"check", "plan --all", "--service etcd", "history", "status"} {
		_, _, stderr := s.run(t, strings.Fields(command)...)
		assert.Contains(t, stderr, fmt.Sprintf("over ssh, with its nodes of %s: kubectl rotate-certs --server %s recover --host cp1,w1 --plan",
			modified(t, files[0]), s.URL), command)
	}
}

func modified(t *testing.T, path string) string {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	return info.ModTime().UTC().Format("2006-01-02")
}

func TestRememberedNodesAreAHostFileWithTheControlPlaneFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "file")
	nodes := []kubenode.Node{
		{Name: "cp1", ControlPlane: true, Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.1"}}},
		{Name: "a1"}, {Name: "win", OS: "windows"}, {Name: "x; rm", ControlPlane: true}, {Name: "cp2", ControlPlane: true},
	}
	require.NoError(t, writeRemembered(path, "https://10.0.0.10:6443", nodes, noon))
	hosts, err := readHosts(path)
	require.NoError(t, err)
	assert.Equal(t, []string{"cp1", "cp2", "a1"}, hosts)
	text, err := os.ReadFile(path) //nolint:gosec // of this test
	require.NoError(t, err)
	assert.Contains(t, string(text), "https://10.0.0.10:6443 listed on 2026-11-24")
	assert.Contains(t, string(text), "# control plane, 10.0.0.1\ncp1\n")

	require.NoError(t, writeRemembered(path, "", nodes[:1], noon))
	left, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	assert.Len(t, left, 1, "it is replaced, and nothing else stays")
}

func TestClustersAtOneAddressAreRememberedApart(t *testing.T) {
	at := func(ca string) string {
		return rememberedFile("cache", &rest.Config{Host: "https://127.0.0.1:6443", TLSClientConfig: rest.TLSClientConfig{CAData: []byte(ca)}})
	}
	assert.NotEqual(t, at("one"), at("other"))
	assert.Equal(t, at("one"), at("one"))
	assert.True(t, strings.HasPrefix(at("one"), filepath.Join("cache", "rotate-certs", "127.0.0.1_6443_")), at("one"))
}

func TestManyRememberedNodesAreNamedByTheirFile(t *testing.T) {
	t.Setenv("KUBECACHEDIR", t.TempDir())
	flags := newConnectionFlags()
	require.NoError(t, flags.set.Parse([]string{"--kubeconfig", "testdata/kubeconfig"}))
	conn, err := flags.newConnection()
	require.NoError(t, err)
	var nodes []kubenode.Node
	for i := range mostNamed + 1 {
		nodes = append(nodes, kubenode.Node{Name: fmt.Sprintf("w%d", i)})
	}
	require.NoError(t, writeRemembered(conn.remembered, "", nodes, noon))
	assert.Contains(t, flags.recoverHint(), "recover --host-file "+conn.remembered+" --plan")
}

func TestErrorOfAConnectionWithoutAnAnswerHasTheRecoveryHint(t *testing.T) {
	for name, cause := range map[string]error{"a load balancer without a server": io.EOF, "no route": syscall.EHOSTUNREACH, "reset": syscall.ECONNRESET} {
		err := &url.Error{Op: "Get", URL: "https://10.0.0.10:6443/api/v1/nodes?limit=500", Err: cause}
		text := hint.TextOf(explainCause(err, func() string { return "recover it" }))
		assert.Equal(t, "the API server at https://10.0.0.10:6443 does not answer: "+cause.Error()+"\nhint: is it running, and can this machine reach it? recover it", text, name)
	}
	noEtcd := hint.AddTo(fmt.Errorf("%w has no working etcd", kube.ErrNoEtcd), "has etcd lost its quorum?")
	text := hint.TextOf(explainCause(noEtcd, func() string { return "recover it" }))
	assert.Equal(t, "the API server has no working etcd\nhint: has etcd lost its quorum?; recover it", text)
}
