package kube

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// balanced is an address behind which every connection may lead to another server.
func balanced(t *testing.T, answer string) (config *rest.Config, connections func() int) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]bool{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.RemoteAddr] = true
		_, _ = io.WriteString(w, answer)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return &rest.Config{Host: server.URL, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(seen)
	}
}

func TestElsewhereUsesOwnConnections(t *testing.T) {
	config, connections := balanced(t, `{"major":"1"}`)
	client, err := kubernetes.NewForConfig(config)
	require.NoError(t, err)
	ask := func(c kubernetes.Interface) {
		_, err := c.Discovery().ServerVersion()
		require.NoError(t, err)
	}
	ask(client)
	ask(client)
	assert.Equal(t, 1, connections(), "a client keeps to its connection")
	ask(viaNewConnection(client, config))
	ask(viaNewConnection(client, config))
	assert.Equal(t, 3, connections())
	assert.Equal(t, kubernetes.Interface(client), viaNewConnection(client, nil))
}

// One API server's own client certificate has expired: no kubelet answers it, but all
// others are answered.
func TestScanReadsThroughAnotherAPIServer(t *testing.T) {
	refused := apierrors.NewUnauthorized("the server has asked for the client to provide credentials")
	k := kubelets{status: terminated(corev1.PodSucceeded, "Completed", 0), logErr: refused}

	t.Run("which can reach the kubelet", func(t *testing.T) {
		c := newCluster(t)
		k.run(t, c)
		config, _ := balanced(t, inventoryOf(t, "w1"))
		found, excluded, err := (&Scanner{Client: c, Config: config, Pods: options}).Scan(t.Context(), []string{"w1"})
		require.NoError(t, err)
		assert.Empty(t, excluded)
		require.Len(t, found, 1)
		assert.Equal(t, "w1", found[0].Name)
	})
	t.Run("where none can, it says what has expired", func(t *testing.T) {
		c := newCluster(t)
		k.run(t, c)
		_, excluded, err := (&Scanner{Client: c, Pods: options}).Scan(t.Context(), []string{"w1"})
		require.NoError(t, err)
		require.Len(t, excluded, 1)
		assert.Contains(t, excluded[0].Reason, "has apiserver-kubelet-client expired?")
	})
}
