package plan_test

import (
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// withProxy gives a node a certificate of kube-proxy that a command renews.
func withProxy(n inventory.Node) inventory.Node {
	c := newPair(certs.KubeProxy, "kube-proxy.conf", "/agent")
	c.NotBefore = now.AddDate(0, -1, 0)
	c.NotAfter = now.AddDate(0, 11, 0)
	c.Issuer = inventory.Issuer{Kind: inventory.UnitCommand, Unit: n.Components[0].Unit, Command: rke2Command, Part: "kube-proxy", CACert: "/agent/client-ca.crt"}
	n.Certificates = append(n.Certificates, c)
	return n
}

// rke2AgentNode is a worker of RKE2, whose certificates a server signs.
func rke2AgentNode(name string) inventory.Node {
	n := inventory.Node{Name: name, Time: now, CRISocket: "/run/cri.sock", DBusSocket: "/run/dbus.sock", Components: []inventory.Component{
		{Service: certs.Kubelet, Runtime: inventory.Supervised, Unit: "rke2-agent.service", PID: 100},
		{Service: certs.KubeProxy, Runtime: inventory.StaticPod, Unit: "rke2-agent.service", PID: 101},
	}}
	kubelet := newPair(certs.Kubelet, "kubelet-client", "/agent")
	kubelet.NotBefore = now.AddDate(0, -1, 0)
	kubelet.NotAfter = now.AddDate(0, 11, 0)
	kubelet.Issuer = inventory.Issuer{Kind: inventory.UnitCommand, Unit: "rke2-agent.service", Command: rke2Command, Part: "kubelet", CACert: "/agent/client-ca.crt"}
	n.Certificates = append(n.Certificates, kubelet)
	return withProxy(n)
}

// TestAgentsNeedTheirServersInTheRotation for what a server may hand to all agents: an agent
// alone would get the same certificate, or key, again.
func TestAgentsNeedTheirServersInTheRotation(t *testing.T) {
	kubelet, proxy := "w1/kubelet-client", "w1/kube-proxy.conf"
	both := []certs.Service{certs.Kubelet, certs.KubeProxy}
	for name, tt := range map[string]struct {
		services    []certs.Service
		nodes       []string
		compromised bool
		stepOf      string
		change      func(server *inventory.Node)
		unknown     bool // the servers are not scanned
		renewed     []string
	}{
		"the agent alone":                     {services: both, nodes: []string{"w1"}, renewed: []string{kubelet}},
		"the servers not scanned":             {services: both, unknown: true, renewed: []string{kubelet}},
		"compromised, the agent alone":        {services: both, nodes: []string{"w1"}, compromised: true},
		"one of two servers":                  {services: both, nodes: []string{"w1", "cp1"}, renewed: []string{kubelet}},
		"all servers":                         {services: both, renewed: []string{kubelet, proxy}},
		"compromised, all servers":            {services: both, compromised: true, renewed: []string{kubelet, proxy}},
		"a step of a rotation of all servers": {services: both, stepOf: "w1", renewed: []string{kubelet, proxy}},
		"a server without that certificate": {services: both, renewed: []string{kubelet}, change: func(n *inventory.Node) {
			n.Certificates = n.Certificates[:len(n.Certificates)-1]
		}},
		"a server that cannot renew it": {services: both, renewed: []string{kubelet}, change: func(n *inventory.Node) {
			n.Certificates[len(n.Certificates)-1].Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			server := withProxy(rke2Node("cp1"))
			if tt.change != nil {
				tt.change(&server)
			}
			nodes := []inventory.Node{server, withProxy(rke2Node("cp2")), rke2AgentNode("w1")}
			if tt.unknown {
				nodes = nodes[2:]
			}
			req := newRequest(tt.services...)
			req.Nodes = tt.nodes
			req.Compromised = tt.compromised
			req.StepOf = tt.stepOf
			p, err := plan.BuildPlan(nodes, req, nil)
			if tt.renewed == nil {
				require.ErrorContains(t, err, "its key may be that of a server, which hands it to all agents: rotate all servers in the same rotation")
				return
			}
			require.NoError(t, err)
			var renewed []string
			for _, name := range targetNames(p) {
				if name == kubelet || name == proxy {
					renewed = append(renewed, name)
				}
			}
			assert.ElementsMatch(t, tt.renewed, renewed)
			if len(tt.renewed) == 1 {
				reason := ""
				for _, l := range p.LeftOut {
					if l.Node == "w1" {
						reason = l.Reason
					}
				}
				assert.Contains(t, reason, "this certificate may be that of a server")
			}
		})
	}
}
