package ssh

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// A host of an external etcd is no control-plane node: no API server has to answer there.
func TestHostsOfEtcdAreNoControlPlaneNodes(t *testing.T) {
	h := &Hosts{byNode: map[string]*host{}, roles: map[string]role{}}
	for name, services := range map[string][]certs.Service{
		"a-etcd": {certs.Etcd}, "b-stacked": {certs.Etcd, certs.KubeAPIServer}, "c-plain": {certs.KubeAPIServer, certs.Kubelet}, "d-worker": {certs.Kubelet},
	} {
		n := &inventory.Node{Name: name}
		for _, s := range services {
			n.Components = append(n.Components, inventory.Component{Service: s})
		}
		h.byNode[name], h.roles[name] = &host{address: name}, roleOf(n)
	}
	nodes, err := h.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][2]bool{"a-etcd": {false, true}, "b-stacked": {true, false}, "c-plain": {true, false}, "d-worker": {false, false}}
	for _, n := range nodes {
		if got := [2]bool{n.ControlPlane, n.Etcd}; got != want[n.Name] {
			t.Errorf("%s: control plane, etcd = %v, want %v", n.Name, got, want[n.Name])
		}
	}
}
