package plugin

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestConsumersAreNamedWithTheLimitsOfAScan(t *testing.T) {
	cp1, cp2 := controlPlane("cp1"), controlPlane("cp2")
	cp1.ComponentOf(certs.KubeAPIServer).ClientURLs = []string{"https://127.0.0.1:2379"}
	cp2.ComponentOf(certs.KubeAPIServer).ClientURLs = []string{"https://10.0.0.1:2379", "https://10.0.0.2:2379"}
	cp3 := controlPlane("cp3")
	cp3.ComponentOf(certs.KubeAPIServer).ClientURLs = []string{"https://127.0.0.1:2379"}
	nodes := []inventory.Node{cp1, cp2, cp3, worker("w1")}
	of := func(services ...certs.Service) []string {
		return namedConsumers(planOf(t, nodes, plan.Request{Services: services, Nodes: []string{"cp1"}, Restart: plan.RestartAlways}), nodes)
	}
	got := of(certs.Etcd)
	require.Len(t, got, 1)
	assert.Contains(t, got[0], "kube-apiserver on cp1, cp3 (https://127.0.0.1:2379); kube-apiserver on cp2 (https://10.0.0.1:2379,https://10.0.0.2:2379).",
		"also those on nodes out of scope")
	assert.Contains(t, got[0], "A scan does not find other clients")
	assert.Empty(t, of(certs.Kubelet))
}

func TestCopiesThatKeepTheOldCertificateAreNamed(t *testing.T) {
	cp1, w1 := controlPlane("cp1"), worker("w1")
	var admin inventory.Certificate
	for _, c := range cp1.Certificates {
		if c.Service == certs.Admin {
			admin = c
		}
	}
	require.NotEmpty(t, admin.FingerprintSHA256)
	w1.Copies = []inventory.Copy{
		{Path: "/root/.kube/config", FingerprintSHA256: admin.FingerprintSHA256},
		{Path: "/home/jane/.kube/config", FingerprintSHA256: "another"},
	}
	nodes := []inventory.Node{cp1, w1}
	of := func(services ...certs.Service) string {
		return namedCopies(planOf(t, nodes, plan.Request{Services: services, Restart: plan.RestartAlways}), nodes)
	}
	assert.Equal(t, "Copies keep the old certificate and are not changed: /root/.kube/config on w1 (admin.conf of cp1). Copy the new file there.", of(certs.Admin))
	assert.Empty(t, of(certs.Etcd))
}
