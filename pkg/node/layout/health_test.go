package layout

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

// TestWhereHealthIsAsked: a component without a health endpoint has no address, and only has to
// run. An address without a listener would roll back every rotation.
func TestWhereHealthIsAsked(t *testing.T) {
	const clients = "--listen-client-urls=https://0.0.0.0:2379"
	for _, test := range []struct {
		service certs.Service
		args    []string
		want    string
	}{
		{certs.Etcd, []string{clients}, "https://127.0.0.1:2379/health"},
		{certs.Etcd, []string{clients, "--listen-metrics-urls=http://127.0.0.1:2381"}, "http://127.0.0.1:2381/health"},
		{certs.Etcd, []string{clients, "--listen-client-http-urls=https://10.0.0.11:2382"}, "https://10.0.0.11:2382/health"},
		{certs.KubeAPIServer, nil, "https://127.0.0.1:6443/readyz"},
		{certs.KubeAPIServer, []string{"--secure-port=8443", "--bind-address=10.0.0.11"}, "https://10.0.0.11:8443/readyz"},
		{certs.KubeScheduler, nil, "https://127.0.0.1:10259/healthz"},
		{certs.KubeScheduler, []string{"--secure-port=0"}, ""},
		{certs.KubeControllerManager, []string{"--secure-port=0"}, ""},
		{certs.KubeControllerManager, []string{"--bind-address=::", "--secure-port=10557"}, "https://127.0.0.1:10557/healthz"},
		{certs.Kubelet, nil, "http://127.0.0.1:10248/healthz"},
		{certs.Kubelet, []string{"--healthz-port=0"}, ""},
		{certs.Kubelet, []string{"--healthz-port=10348", "--healthz-bind-address=0.0.0.0"}, "http://127.0.0.1:10348/healthz"},
		{certs.KubeProxy, nil, "http://127.0.0.1:10256/healthz"},
		{certs.KubeProxy, []string{"--healthz-port=0"}, ""},
		{certs.KubeProxy, []string{"--healthz-bind-address="}, ""},
		{certs.KubeProxy, []string{"--healthz-bind-address=0.0.0.0:10356"}, "http://127.0.0.1:10356/healthz"},
	} {
		n := layouttest.NewNode(t)
		n.AddProcess(20, layouttest.UnitCgroup(string(test.service)+".service"), append([]string{string(test.service)}, test.args...)...)
		l := DiscoverNode(n.Root, Options{})
		c := l.Node.ComponentOf(test.service)
		if c == nil || c.Health != test.want {
			t.Errorf("%s %q: %+v, want %q", test.service, test.args, c, test.want)
		}
	}
}
