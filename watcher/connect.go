package watcher

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// Connect finds the cluster: by a kubeconfig, or with the ServiceAccount of the pod. Ten thousand nodes are listed in pages, and a rotation
// talks to many at once: client-go's own limits are for less.
func Connect(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("find the cluster: %w\noutside of a pod, say --kubeconfig FILE", err)
	}
	config.QPS, config.Burst = 100, 200
	config.UserAgent = "rotate-certs-watcher/" + version.Version
	return config, nil
}
