package kube

import (
	"net"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// viaNewConnection returns a client with connections of its own, so that its requests may reach
// another API server: behind a load balancer, all requests of a client share one connection.
// Some API servers may be unable to reach a kubelet, such as those with an expired
// client certificate. Without a configuration it returns the given client.
func viaNewConnection(client kubernetes.Interface, config *rest.Config) kubernetes.Interface {
	if own, ok := client.(*reconnecting); ok && config == nil {
		config = own.config
	}
	if config == nil {
		return client
	}
	own := rest.CopyConfig(config)
	// Transports are shared among all configurations without a dialer, and among none
	// with one.
	if own.Dial == nil {
		own.Dial = (&net.Dialer{Timeout: wait.RequestTimeout, KeepAlive: 30 * time.Second}).DialContext
	}
	fresh, err := kubernetes.NewForConfig(own)
	if err != nil {
		return client
	}
	return fresh
}

// reconnecting is a client with the configuration for a new connection.
type reconnecting struct {
	kubernetes.Interface
	config *rest.Config
}
