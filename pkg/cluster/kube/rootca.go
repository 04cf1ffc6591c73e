package kube

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rootCAName is the ConfigMap with the CAs of the API server, which the controller manager keeps in
// every namespace.
const rootCAName = "kube-root-ca.crt"

// rootCARetries is how often RootCA tries again where connections are closed without an answer, as by
// a load balancer in front of no API server. client-go tries ten times, a second apart.
const rootCARetries = 2

// RootCA returns the CAs of the API server, as PEM. Where no API server answers, the error comes
// within seconds.
func (s *APIServer) RootCA(ctx context.Context) ([]byte, error) {
	var object corev1.ConfigMap
	err := s.Client.CoreV1().RESTClient().Get().Namespace(metav1.NamespaceSystem).Resource("configmaps").Name(rootCAName).
		MaxRetries(rootCARetries).Do(ctx).Into(&object)
	if err != nil {
		return nil, fmt.Errorf("read configmap %q: %w", metav1.NamespaceSystem+"/"+rootCAName, err)
	}
	return []byte(object.Data["ca.crt"]), nil
}
