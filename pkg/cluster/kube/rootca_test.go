package kube

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func apiServerOf(t *testing.T, answer http.HandlerFunc) *APIServer {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	client, err := kubernetes.NewForConfig(&rest.Config{Host: server.URL, ContentConfig: rest.ContentConfig{ContentType: "application/json"}})
	require.NoError(t, err)
	return &APIServer{Client: client}
}

func TestRootCAIsThatOfTheConfigMap(t *testing.T) {
	s := apiServerOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		assert.NoError(t, json.NewEncoder(w).Encode(corev1.ConfigMap{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}, Data: map[string]string{"ca.crt": "PEM"},
		}))
	})
	pem, err := s.RootCA(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "PEM", string(pem))

	_, err = apiServerOf(t, http.NotFound).RootCA(t.Context())
	require.ErrorContains(t, err, `read configmap "kube-system/kube-root-ca.crt"`)
}

// TestLoadBalancerWithoutAnAPIServerIsTriedFewTimes: a recovery waits for that answer, and would for
// ten seconds by client-go's own measure.
func TestLoadBalancerWithoutAnAPIServerIsTriedFewTimes(t *testing.T) {
	t.Parallel()
	var asked atomic.Int32
	s := apiServerOf(t, func(http.ResponseWriter, *http.Request) {
		asked.Add(1)
		panic(http.ErrAbortHandler)
	})
	_, err := s.RootCA(t.Context())
	require.ErrorContains(t, err, "EOF")
	assert.EqualValues(t, 1+rootCARetries, asked.Load())
}
