package plan

import (
	"fmt"
	"slices"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// leaveToServers returns the inventories without an issuer for those certificates of agents of
// RKE2 and K3s that a rotation of the agent alone may not renew. Before agents sent requests with
// keys of their own, a server made kube-proxy's certificate and the key of all kubelets, and
// handed the same ones to every agent: pkg/server of k3s. A scan does not show whether it does.
// The servers come first in a plan, so that an agent gets new ones after them. nodes are not
// changed.
func leaveToServers(nodes []inventory.Node, req Request) []inventory.Node {
	out := slices.Clone(nodes)
	for i := range out {
		n := &out[i]
		if n.ControlPlane() {
			continue
		}
		n.Certificates = slices.Clone(n.Certificates)
		for k := range n.Certificates {
			c := &n.Certificates[k]
			what := fromServer(*c, req.Compromised)
			if what == "" || serversRenew(nodes, c.Issuer.Part, req) {
				continue
			}
			c.Reason = fmt.Sprintf("%s may be that of a server, which hands it to all agents: rotate all servers in the same rotation, with the same services", what)
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		}
	}
	return out
}

// fromServer names the part of an agent's certificate that a server may have made for all
// agents, and that must change in a renewal; empty: there is none.
func fromServer(c inventory.Certificate, compromised bool) string {
	switch {
	case c.Issuer.Kind != inventory.UnitCommand:
		return ""
	case c.Service == certs.KubeProxy:
		return "this certificate"
	case c.Service == certs.Kubelet && compromised:
		return "its key"
	}
	return ""
}

// serversRenew reports whether every server is known to renew a part in the same rotation.
func serversRenew(nodes []inventory.Node, part string, req Request) bool {
	found := false
	for i := range nodes {
		n := &nodes[i]
		if !n.ControlPlane() {
			continue
		}
		found = true
		renews := slices.ContainsFunc(n.Certificates, func(c inventory.Certificate) bool {
			return c.Issuer.Kind == inventory.UnitCommand && c.Issuer.Part == part && slices.Contains(req.Services, c.Service) && reasonToLeave(n, c, req) == ""
		})
		if !renews || len(req.Nodes) > 0 && !slices.Contains(req.Nodes, n.Name) {
			return false
		}
	}
	return found
}
