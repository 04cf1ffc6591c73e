package plan_test

import (
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const k0sUnit = "k0scontroller.service"

// k0sNode is a node on which one unit runs everything, and makes all certificates but the
// kubelet's whenever it starts.
func k0sNode(name string) inventory.Node {
	n := controlPlane(name)
	n.Time = now
	n.Components = n.Components[:3]
	for i := range n.Components {
		n.Components[i].Runtime = inventory.Supervised
		n.Components[i].Unit = k0sUnit
		n.Components[i].PID = 100 + i
	}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		c.NotBefore = now.AddDate(0, -1, 0)
		c.NotAfter = now.AddDate(0, 11, 0)
		c.Issuer = inventory.Issuer{Kind: inventory.UnitStart, Unit: k0sUnit, CACert: "/pki/ca.crt", CAKey: "/pki/ca.key"}
		if c.Service == certs.Kubelet {
			c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
			c.Reason = "k0s leaves it to the kubelet"
		}
	}
	return n
}

func TestRestartOfK0sRenewsAllThatItMakes(t *testing.T) {
	p := buildPlan(t, newRequest(certs.Services()...), k0sNode("cp2"), k0sNode("cp1"))
	require.Len(t, p.Waves, 2, "one control-plane node after the other")
	step := p.Waves[0].Steps[0]
	assert.Equal(t, "cp1", step.Node)
	assert.Equal(t, k0sUnit, step.RestartUnit)
	assert.ElementsMatch(t, []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.Kubelet}, step.Restarts)
	assert.ElementsMatch(t, []string{"cp1/etcd-server", "cp1/etcd-peer", "cp1/apiserver", "cp2/etcd-server", "cp2/etcd-peer", "cp2/apiserver"}, targetNames(p))
	assert.Equal(t, string(inventory.UnitStart), step.Targets[0].Issuer)
	assert.Empty(t, step.Directories, "the step writes no file of theirs")
	assert.Equal(t, "/run/dbus.sock", step.DBusSocket)
	assert.Empty(t, step.CRISocket)
	assert.WithinDuration(t, now.AddDate(1, 0, 0), step.Targets[0].NewNotAfter, 48*time.Hour)
	require.Len(t, p.LeftOut, 2, "what the kubelet renews")
	assert.Equal(t, "k0s leaves it to the kubelet", p.LeftOut[0].Reason)
}

func TestOneServiceOfK0sRestartsAll(t *testing.T) {
	for _, policy := range []plan.RestartPolicy{plan.RestartAlways, plan.RestartIfNeeded} {
		req := newRequest(certs.KubeAPIServer)
		req.Restart = policy
		req.Compromised = policy == plan.RestartAlways
		p := buildPlan(t, req, k0sNode("cp1"))
		assert.ElementsMatch(t, []string{"cp1/etcd-server", "cp1/etcd-peer", "cp1/apiserver"}, targetNames(p), policy)
		assert.Contains(t, p.AllSteps()[0].Services, plan.Service{Service: certs.Etcd, Because: "a restart of k0scontroller.service renews its certificates too"})
		assert.Empty(t, p.LeftOut)
	}
}

func TestObstaclesToARestartOfK0s(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(n *inventory.Node, req *plan.Request)
		reason string
	}{
		"no restart is wanted": {func(_ *inventory.Node, r *plan.Request) { r.Restart = plan.RestartNever }, "only a restart of k0scontroller.service renews it, and --restart=never forbids that"},
		"a validity is asked":  {func(_ *inventory.Node, r *plan.Request) { r.Validity = 90 * 24 * time.Hour }, "certificatesExpireAfter"},
		"systemd is not there": {func(n *inventory.Node, _ *plan.Request) { n.DBusSocket = "" }, "there is no D-Bus socket"},
		"a CA would be replaced": {func(n *inventory.Node, _ *plan.Request) {
			n.Certificates[2].Issuer.Kind = inventory.NoIssuer
			n.Certificates[2].Reason = "k0s would make a new CA"
		}, `must not be done because of apiserver "/pki/apiserver.crt": k0s would make a new CA`},
		"a component could not start": {func(n *inventory.Node, _ *plan.Request) {
			n.Certificates[3].Status = certs.Invalid
			n.Certificates[3].Reason = "its key does not fit"
		}, "kubelet could not start again"},
		"its key has another use": {func(n *inventory.Node, _ *plan.Request) {
			for i := range n.Certificates {
				n.Certificates[i].KeyUses = []inventory.KeyUse{{Service: certs.KubeAPIServer, Setting: "--service-account-key-file"}}
			}
		}, "a restart of k0scontroller.service makes a new key"},
	} {
		t.Run(name, func(t *testing.T) {
			n := k0sNode("cp1")
			req := newRequest(certs.Etcd)
			tt.change(&n, &req)
			_, err := plan.BuildPlan([]inventory.Node{n}, req, nil)
			var refused *plan.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Len(t, refused.Problems, 2)
			assert.Contains(t, refused.Problems[0].Text, tt.reason)
		})
	}
}

// TestAUnitRestartIsARotationOfItsOwn: a certificate of another component on
// the same node gets a rotation of its own.
func TestAUnitRestartIsARotationOfItsOwn(t *testing.T) {
	n := k0sNode("cp1")
	n.Components = append(n.Components, inventory.Component{Service: certs.KubeProxy, Runtime: inventory.Systemd, Unit: "kube-proxy.service"})
	n.Certificates = append(n.Certificates, newPair(certs.KubeProxy, "kube-proxy.conf", "/proxy"))
	p := buildPlan(t, newRequest(certs.Etcd, certs.KubeProxy), n)
	assert.NotContains(t, targetNames(p), "cp1/kube-proxy.conf")
	require.Len(t, p.LeftOut, 1)
	assert.Contains(t, p.LeftOut[0].Reason, "in a rotation of its own")
	p = buildPlan(t, newRequest(certs.KubeProxy), n)
	assert.Equal(t, []string{"cp1/kube-proxy.conf"}, targetNames(p))
	assert.Empty(t, p.AllSteps()[0].RestartUnit)
}

const rke2Unit, rke2Command = "rke2-server.service", "/usr/local/bin/rke2 certificate rotate --data-dir=/var/lib/rancher/rke2"

// rke2Node is a node whose static pods and kubelet one unit starts, and whose certificates a
// command renews while that unit is stopped: in the parts that the command knows.
func rke2Node(name string) inventory.Node {
	n := k0sNode(name)
	for i := range n.Components {
		c := &n.Components[i]
		c.Unit = rke2Unit
		if c.Service != certs.Kubelet {
			c.Runtime = inventory.StaticPod
		}
	}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		part := strings.TrimPrefix(string(c.Service), "kube-")
		if c.Name == "apiserver" {
			part = "api-server"
		}
		c.Reason = ""
		c.Issuer = inventory.Issuer{Kind: inventory.UnitCommand, Unit: rke2Unit, Command: rke2Command, Part: part, CACert: "/pki/ca.crt", CAKey: "/pki/ca.key", Backups: "/var/lib/rancher/rke2/server"}
	}
	return n
}

func TestCommandRenewsThePartsInScope(t *testing.T) {
	p := buildPlan(t, newRequest(certs.Etcd), rke2Node("cp2"), rke2Node("cp1"))
	require.Len(t, p.Waves, 2, "one control-plane node after the other")
	step := p.Waves[0].Steps[0]
	assert.Equal(t, rke2Unit, step.RestartUnit)
	assert.Equal(t, rke2Command+" --service=etcd", step.UnitCommand)
	assert.ElementsMatch(t, []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.Kubelet}, step.Restarts, "the unit restarts all of them")
	assert.ElementsMatch(t, []string{"cp1/etcd-server", "cp1/etcd-peer", "cp2/etcd-server", "cp2/etcd-peer"}, targetNames(p))
	assert.Equal(t, string(inventory.UnitCommand), step.Targets[0].Issuer)
	assert.Empty(t, step.Directories, "the step writes no file of theirs")
	assert.Equal(t, "/run/dbus.sock", step.DBusSocket)
	assert.Empty(t, step.CRISocket, "the unit stops the static pods")
	assert.Empty(t, p.LeftOut)

	p = buildPlan(t, newRequest(certs.Services()...), rke2Node("cp1"))
	assert.Equal(t, rke2Command+" --service=api-server --service=etcd --service=kubelet", p.AllSteps()[0].UnitCommand)
}

// TestBackupsOfACommandAreWritable only for the destruction of compromised keys in them.
func TestBackupsOfACommandAreWritable(t *testing.T) {
	req := newRequest(certs.Etcd)
	req.Compromised = true
	p := buildPlan(t, req, rke2Node("cp1"))
	assert.Equal(t, []string{"/var/lib/rancher/rke2/server"}, p.AllSteps()[0].Directories)
}

// TestPartOfTwoServicesIsRenewedWhole: the command knows the API server's client certificate
// for etcd as one of etcd's.
func TestPartOfTwoServicesIsRenewedWhole(t *testing.T) {
	n := rke2Node("cp1")
	client := newPair(certs.KubeAPIServer, "apiserver-etcd-client", "/pki")
	client.Issuer = n.Certificates[0].Issuer
	client.Issuer.Part = "etcd"
	n.Certificates = append(n.Certificates, client)
	p := buildPlan(t, newRequest(certs.KubeAPIServer), n)
	assert.ElementsMatch(t, []string{"cp1/apiserver", "cp1/apiserver-etcd-client", "cp1/etcd-server", "cp1/etcd-peer"}, targetNames(p))
	assert.Contains(t, p.AllSteps()[0].Services, plan.Service{Service: certs.Etcd, Because: `"rke2 certificate rotate --service=etcd" renews certificates of both`})
}

func TestObstaclesToACommand(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(n *inventory.Node, req *plan.Request)
		reason string
	}{
		"no restart is wanted": {func(_ *inventory.Node, r *plan.Request) { r.Restart = plan.RestartNever },
			`only "rke2 certificate rotate" with rke2-server.service stopped renews it, and --restart=never forbids that`},
		"a validity is asked": {func(_ *inventory.Node, r *plan.Request) { r.Validity = 90 * 24 * time.Hour }, "CATTLE_NEW_SIGNED_CERT_EXPIRATION_DAYS"},
		"a CA would be replaced": {func(n *inventory.Node, _ *plan.Request) {
			n.Certificates[2].Issuer = inventory.Issuer{Kind: inventory.NoIssuer, Unit: rke2Unit}
			n.Certificates[2].Reason = "RKE2 would make a new CA"
		}, `must not be done because of apiserver "/pki/apiserver.crt": RKE2 would make a new CA`},
		"a component of another part could not start": {func(n *inventory.Node, _ *plan.Request) {
			n.Certificates[3].Status = certs.Invalid
			n.Certificates[3].Reason = "its key does not fit"
		}, "kubelet could not start again"},
	} {
		t.Run(name, func(t *testing.T) {
			n := rke2Node("cp1")
			req := newRequest(certs.Etcd)
			tt.change(&n, &req)
			_, err := plan.BuildPlan([]inventory.Node{n}, req, nil)
			var refused *plan.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Len(t, refused.Problems, 2)
			assert.Contains(t, refused.Problems[0].Text, tt.reason)
		})
	}
}
