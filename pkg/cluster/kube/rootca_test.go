package kube

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestRootCAIsThatOfTheConfigMap(t *testing.T) {
	s := &APIServer{Client: fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "kube-root-ca.crt"}, Data: map[string]string{"ca.crt": "PEM"}})}
	pem, err := s.RootCA(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "PEM", string(pem))
	_, err = (&APIServer{Client: fake.NewClientset()}).RootCA(t.Context())
	require.ErrorContains(t, err, `read configmap "kube-system/kube-root-ca.crt"`)
}
