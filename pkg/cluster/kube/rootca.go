package kube

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// rootCAName is the ConfigMap with the CAs of the API server, which the controller manager keeps in
// every namespace.
const rootCAName = "kube-root-ca.crt"

// RootCA returns the CAs of the API server, as PEM.
func (s *APIServer) RootCA(ctx context.Context) ([]byte, error) {
	object, err := s.Client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, rootCAName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read configmap %q: %w", metav1.NamespaceSystem+"/"+rootCAName, err)
	}
	return []byte(object.Data["ca.crt"]), nil
}
