package kube

import (
	"fmt"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// NewClient returns a client for the configuration. It leaves rate limiting to the
// API server's own fairness: client-go's default of five requests a second makes a
// scan of a large cluster, and even a check of permissions, take seconds for nothing.
func NewClient(config *rest.Config) (kubernetes.Interface, error) {
	config = rest.CopyConfig(config)
	config.QPS, config.RateLimiter = -1, nil
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("prepare a client: %w", err)
	}
	return client, nil
}
