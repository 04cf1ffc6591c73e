package watcher

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// Connect finds the cluster: by a kubeconfig, or with the ServiceAccount of the pod. The
// default rate limits of client-go are too low: ten thousand nodes are listed in pages, and a
// rotation connects to many nodes at once.
func Connect(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, hint.AddTo(fmt.Errorf("find the cluster: %w", err), "outside of a pod, give --kubeconfig FILE")
	}
	config.QPS = 100
	config.Burst = 200
	config.UserAgent = "rotate-certs-watcher/" + version.Version
	return config, nil
}
