package plugin

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

func planOf(t *testing.T, nodes []inventory.Node, req plan.Request) plan.Plan {
	t.Helper()
	p, err := plan.BuildPlan(nodes, req, nil)
	require.NoError(t, err)
	return p
}

func TestPlanOutput(t *testing.T) {
	three := []inventory.Node{controlPlane("cp1"), controlPlane("cp2"), controlPlane("cp3"), worker("w1"), worker("w2")}
	k0s := []inventory.Node{byRestartOf("k0scontroller.service", controlPlane("cp1")), byRestartOf("k0scontroller.service", controlPlane("cp2"))}
	rke2 := []inventory.Node{byCommandOf("rke2-server.service", controlPlane("cp1")), byCommandOf("rke2-server.service", controlPlane("cp2")), byCommandOf("rke2-server.service", controlPlane("cp3"))}
	microk8s := []inventory.Node{byRestartCommandOf("snap.microk8s.daemon-kubelite.service", controlPlane("cp1")), byRestartCommandOf("snap.microk8s.daemon-kubelite.service", controlPlane("cp2"))}
	elsewhere := []inventory.Node{withoutEtcdKey(controlPlane("cp1")), withEtcdKey(controlPlane("cp2")), withEtcdKey(controlPlane("cp3"))}
	for file, tt := range map[string]struct {
		nodes []inventory.Node
		req   plan.Request
		f     printers.Format
	}{
		"plan-unit.txt":            {k0s, plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, printers.Table},
		"plan-unit.yaml":           {k0s[:1], plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, printers.YAML},
		"plan-command.txt":         {rke2, plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, printers.Table},
		"plan-command.yaml":        {rke2[:1], plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, printers.YAML},
		"plan-restart-command.txt": {microk8s, plan.Request{Services: []certs.Service{certs.KubeAPIServer}, Restart: plan.RestartAlways}, printers.Table},
		"plan-etcd.txt":            {three, plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, printers.Table},
		"plan-all.txt":             {three, plan.Request{Services: certs.Services(), Restart: plan.RestartAlways, MaxUnavailable: "1"}, printers.Table},
		"plan-all-wide.txt":        {three[:1], plan.Request{Services: certs.Services(), Restart: plan.RestartAlways}, printers.Wide},
		"plan-single.txt":          {three[:1], plan.Request{Services: certs.Services(), Restart: plan.RestartAlways}, printers.Table},
		"plan-if-needed.txt":       {three, plan.Request{Services: certs.Services(), Restart: plan.RestartIfNeeded}, printers.Table},
		"plan-never.txt":           {three, plan.Request{Services: []certs.Service{certs.Kubelet}, Nodes: []string{"w1"}, Restart: plan.RestartNever}, printers.Table},
		"plan-kube-proxy.txt":      {three, plan.Request{Services: []certs.Service{certs.KubeProxy}, Restart: plan.RestartAlways}, printers.Table},
		"plan.yaml":                {three[:1], plan.Request{Services: []certs.Service{certs.Etcd, certs.KubeProxy}, Restart: plan.RestartAlways}, printers.YAML},
		"plan-elsewhere.txt":       {elsewhere, plan.Request{Services: []certs.Service{certs.Etcd, certs.KubeAPIServer}, Restart: plan.RestartAlways}, printers.Table},
		"plan-elsewhere-wide.txt":  {elsewhere, plan.Request{Services: []certs.Service{certs.Etcd}, Restart: plan.RestartAlways}, printers.Wide},
	} {
		t.Run(file, func(t *testing.T) {
			p := planOf(t, tt.nodes, tt.req)
			p.NotInspected = append(p.NotInspected, plan.NotInspected{Node: "w7", Reason: "NotReady for 14m"})
			var out bytes.Buffer
			if tt.f != printers.YAML {
				out.WriteString(planTitle("7f3c2a", tt.req, nil) + "\n")
			}
			require.NoError(t, printPlan(&out, tt.f, rotationPlan(p, tt.nodes, tt.req, nil, noon)))
			golden(t, file, out.String())
		})
	}
}

// withEtcdKey makes a node's key of etcd's CA known to the others.
func withEtcdKey(n inventory.Node) inventory.Node {
	n.Authorities[1].ID = "id of etcd-ca"
	return n
}

// withoutEtcdKey leaves the key of etcd's CA to other nodes.
func withoutEtcdKey(n inventory.Node) inventory.Node {
	n.Authorities[1].KeyOn = ""
	for i := range n.Certificates {
		if c := &n.Certificates[i]; c.Facts.Issuer == n.Authorities[1].Subject {
			c.Reason = "the key of its CA is not here"
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Authority: "id of etcd-ca", Reason: c.Reason}
		}
	}
	return n
}

// byRestartOf makes one unit run a node's components, and renew all but the kubelet's
// certificates whenever it starts.
func byRestartOf(unit string, n inventory.Node) inventory.Node {
	for i := range n.Components {
		n.Components[i].Runtime, n.Components[i].Unit, n.Components[i].PID = inventory.Supervised, unit, 100+i
	}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		c.Issuer = inventory.Issuer{Kind: inventory.UnitStart, Unit: unit}
		if c.Service == certs.Kubelet {
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		}
	}
	n.DBusSocket = "/run/dbus/system_bus_socket"
	return n
}

// byCommandOf makes one unit start a node's kubelet and static pods, and a command renew its
// certificates while that is stopped, service by service.
func byCommandOf(unit string, n inventory.Node) inventory.Node {
	n = byRestartOf(unit, n)
	for i := range n.Components {
		if c := &n.Components[i]; c.Service != certs.Kubelet {
			c.Runtime = inventory.StaticPod
		}
	}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		c.Issuer = inventory.Issuer{Kind: inventory.UnitCommand, Unit: unit, Part: strings.TrimPrefix(string(c.Service), "kube-"),
			Command: "/usr/local/bin/rke2 certificate rotate --data-dir=/var/lib/rancher/rke2"}
		if c.Name == "apiserver-etcd-client" {
			c.Issuer.Part = "etcd"
		}
	}
	return n
}

// byRestartCommandOf makes one unit run a node's components, and a command sign two certificates of
// the API server again and restart the unit.
func byRestartCommandOf(unit string, n inventory.Node) inventory.Node {
	n = byRestartOf(unit, n)
	parts := map[string]string{"apiserver": "server.crt", "front-proxy-client": "front-proxy-client.crt"}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		c.Reason = "only together with its CA"
		if part := parts[c.Name]; part != "" {
			c.Reason = ""
			c.Issuer = inventory.Issuer{Kind: inventory.RestartCommand, Unit: unit, Part: part, Command: "/snap/bin/microk8s refresh-certs"}
		}
	}
	return n
}

func TestPlanTitleNamesAContinuedRotation(t *testing.T) {
	req := plan.Request{Services: []certs.Service{certs.Etcd}}
	assert.Equal(t, "Rotation 7f3c2a, new: etcd. The CA stays. Workloads are not touched.", planTitle("7f3c2a", req, nil))

	req.Nodes = []string{"cp1", "cp2"}
	u := &plan.Unfinished{ID: "abc123", StartTime: noon.Add(-20 * time.Minute), Committed: map[string]bool{"cp2": true}}
	assert.Equal(t, "Rotation abc123, continued from 2026-11-24 11:40 UTC (cp2 done before): etcd on cp1, cp2. The CA stays. Workloads are not touched.",
		planTitle("7f3c2a", req, u))
}

func TestExpiredCopiesAreNotReportedAsValid(t *testing.T) {
	n := worker("w1")
	n.Certificates[0] = kubelet("w1", -2*day)
	p := planOf(t, []inventory.Node{n}, plan.Request{Services: []certs.Service{certs.Kubelet}, Restart: plan.RestartAlways})
	assert.NotContains(t, strings.Join(planEffects(p, []inventory.Node{n}, plan.Request{Restart: plan.RestartAlways}, noon), "\n"), "remain valid")
}

func TestOwnKubeconfigIsMentioned(t *testing.T) {
	cp1 := controlPlane("cp1")
	nodes := []inventory.Node{cp1}
	me := &identity{Facts: cp1.Certificates[4].Facts, kubeconfig: "/home/me/.kube/config"}
	p := planOf(t, nodes, plan.Request{Services: []certs.Service{certs.Admin}, Restart: plan.RestartAlways})
	assert.Equal(t, "/home/me/.kube/config holds the certificate of /etc/kubernetes/admin.conf on cp1, which is renewed: "+
		"the copy remains valid until 2027-09-20 12:00 UTC; copy the new file from there.", me.beingRenewed(p))
	assert.Empty(t, me.expiresSoon(nodes, noon, 0), "300 days are enough")
	assert.Contains(t, me.expiresSoon(nodes, noon, 301*day), "it is the one of /etc/kubernetes/admin.conf on cp1")

	other := &identity{Facts: facts("jane", "kubernetes", 3*day), kubeconfig: "jane.conf"}
	assert.Empty(t, other.beingRenewed(p))
	assert.Equal(t, "jane.conf: your own client certificate (jane) expires in 3d; /etc/kubernetes/admin.conf on cp1 holds an administrator's certificate, which --service admin renews.",
		other.expiresSoon(nodes, noon, 0))
	var token *identity
	assert.Empty(t, token.beingRenewed(p)+token.expiresSoon(nodes, noon, 0), "a token has no certificate to speak of")
}
