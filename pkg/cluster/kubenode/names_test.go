package kubenode_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

func TestMisnamed(t *testing.T) {
	kubeadm := []string{"cp1", "kubernetes", "kubernetes.default", "10.96.0.1", "10.0.0.11"}
	for name, tt := range map[string]struct {
		service certs.Service
		sans    []string
		ips     []string
		change  func(*inventory.Certificate)
		want    string // "" : it fits
	}{
		"fits":                                   {certs.KubeAPIServer, kubeadm, []string{"10.0.0.11"}, nil, ""},
		"the node has moved":                     {certs.KubeAPIServer, kubeadm, []string{"10.0.0.12"}, nil, "apiserver does not have the node's address 10.0.0.12, but cp1, kubernetes,"},
		"one of two families":                    {certs.KubeAPIServer, kubeadm, []string{"fd00::11", "10.0.0.11"}, nil, ""},
		"only the service's address":             {certs.KubeAPIServer, []string{"cp1", "10.96.0.1"}, []string{"10.0.0.12"}, nil, ""},
		"only loopback, another's name":          {certs.Etcd, []string{"cp9", "127.0.0.1", "::1"}, []string{"10.0.0.11"}, nil, "does not have the node's name host1.example, cp1, but cp9"},
		"names only, its host name":              {certs.Kubelet, []string{"host1.example"}, []string{"10.0.0.11"}, nil, ""},
		"names only, a wildcard":                 {certs.Kubelet, []string{"*.example"}, []string{"10.0.0.11"}, nil, ""},
		"names only, another node's":             {certs.Kubelet, []string{"cp2"}, []string{"10.0.0.11"}, nil, "does not have the node's name"},
		"a node without address":                 {certs.KubeAPIServer, kubeadm, nil, nil, ""},
		"a client certificate":                   {certs.Kubelet, []string{"cp2"}, nil, func(c *inventory.Certificate) { c.Client = &inventory.Client{} }, ""},
		"no names at all":                        {certs.Kubelet, nil, []string{"10.0.0.11"}, nil, ""},
		"a component that no client connects to": {certs.KubeScheduler, []string{"localhost"}, []string{"10.0.0.11"}, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := inventory.Certificate{Service: tt.service, Name: "apiserver", Facts: certs.Facts{SANs: tt.sans, Usages: []string{"digital signature", "server auth"}}}
			if tt.change != nil {
				tt.change(&c)
			}
			n := inventory.Node{Name: "cp1", Certificates: []inventory.Certificate{c}, Components: []inventory.Component{
				{Service: certs.KubeAPIServer, Args: []string{"--service-cluster-ip-range=10.96.0.0/12,fd01::/112"}}}}
			got := kubenode.CheckNames(n, tt.ips, []string{"host1.example"})
			if tt.want == "" {
				assert.Empty(t, got)
				return
			}
			if assert.Len(t, got, 1) {
				assert.Contains(t, got[0].Text, tt.want)
			}
		})
	}
}
