package plan_test

import (
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const microk8sUnit, microk8sCommand = "snap.microk8s.daemon-kubelite.service", "/snap/bin/microk8s refresh-certs"

// microk8sNode is a node on which one unit runs everything. A command signs two certificates of
// the API server again with their old keys, and restarts the unit.
func microk8sNode(name string) inventory.Node {
	n := k0sNode(name)
	for i := range n.Components {
		n.Components[i].Unit = microk8sUnit
	}
	proxy := newPair(certs.KubeAPIServer, "front-proxy-client", "/pki")
	proxy.NotBefore = now.AddDate(0, -1, 0)
	proxy.NotAfter = now.AddDate(0, 11, 0)
	n.Certificates = append(n.Certificates, proxy)
	parts := map[string]string{"apiserver": "server.crt", "front-proxy-client": "front-proxy-client.crt"}
	for i := range n.Certificates {
		c := &n.Certificates[i]
		c.Issuer = inventory.Issuer{Kind: inventory.NoIssuer}
		c.Reason = "only together with its CA"
		if part := parts[c.Name]; part != "" {
			c.Reason = ""
			c.Issuer = inventory.Issuer{Kind: inventory.RestartCommand, Unit: microk8sUnit, Command: microk8sCommand, Part: part, CACert: "/pki/ca.crt", CAKey: "/pki/ca.key"}
		}
	}
	return n
}

func TestCommandThatRestartsItsUnitRunsForEachPart(t *testing.T) {
	n := microk8sNode("cp1")
	// The same key as another certificate: the command keeps it, so they need not be renewed together.
	n.Certificates[2].KeyFile = "/pki/server.key"
	n.Certificates[3].KeyFile = "/pki/server.key"
	p := buildPlan(t, newRequest(certs.Services()...), n, microk8sNode("cp2"))
	require.Len(t, p.Waves, 2, "one control-plane node after the other")
	step := p.Waves[0].Steps[0]
	assert.Equal(t, microk8sCommand+" --cert=front-proxy-client.crt && "+microk8sCommand+" --cert=server.crt", step.UnitCommand)
	assert.Equal(t, [][]string{{"/snap/bin/microk8s", "refresh-certs", "--cert=front-proxy-client.crt"}, {"/snap/bin/microk8s", "refresh-certs", "--cert=server.crt"}},
		inventory.SplitCommands(step.UnitCommand))
	assert.Equal(t, microk8sUnit, step.RestartUnit)
	assert.True(t, step.RestartsItself())
	assert.Equal(t, `"microk8s refresh-certs"`, step.Renewer())
	assert.ElementsMatch(t, []certs.Service{certs.Etcd, certs.KubeAPIServer, certs.Kubelet}, step.Restarts, "the unit restarts all of them")
	assert.ElementsMatch(t, []string{"cp1/apiserver", "cp1/front-proxy-client", "cp2/apiserver", "cp2/front-proxy-client"}, targetNames(p))
	assert.Empty(t, step.Directories, "the step writes no file of theirs")
	assert.Equal(t, "/run/dbus.sock", step.DBusSocket)
	assert.Equal(t, `is kept by "microk8s refresh-certs"`, step.Targets[0].KeptKey)
	assert.WithinDuration(t, now.AddDate(1, 0, 0), step.Targets[0].NewNotAfter, 48*time.Hour)
	assert.NotEmpty(t, p.LeftOut)
	for _, left := range p.LeftOut {
		assert.Equal(t, "only together with its CA", left.Reason)
		assert.False(t, left.NotAfter.IsZero(), left.Name)
	}
}

// TestLifeThatMicroK8sGives: it signs for a year, whatever the old certificate had.
func TestLifeThatMicroK8sGives(t *testing.T) {
	n := microk8sNode("cp1")
	for i := range n.Certificates {
		n.Certificates[i].NotAfter = now.AddDate(9, 0, 0)
	}
	target := buildPlan(t, newRequest(certs.KubeAPIServer), n).AllSteps()[0].Targets[0]
	assert.WithinDuration(t, now.AddDate(1, 0, 0), target.NewNotAfter, 48*time.Hour)
	assert.Equal(t, "MicroK8s always signs for 365 days", target.LifeReason)
}

// TestWhatACommandCannotDoIsLeftOut: it makes no new key, and always restarts its unit.
func TestWhatACommandCannotDoIsLeftOut(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(req *plan.Request)
		reason string
	}{
		"a new key":  {func(r *plan.Request) { r.Compromised = true }, `its key is kept by "microk8s refresh-certs", so a renewal keeps it: replace the key by hand`},
		"no restart": {func(r *plan.Request) { r.Restart = plan.RestartNever }, `only "microk8s refresh-certs" renews it, and --restart=never forbids that`},
		"a validity": {func(r *plan.Request) { r.Validity = 90 * 24 * time.Hour }, "MicroK8s always signs for 365 days"},
	} {
		t.Run(name, func(t *testing.T) {
			req := newRequest(certs.KubeAPIServer)
			tt.change(&req)
			_, err := plan.BuildPlan([]inventory.Node{microk8sNode("cp1")}, req, nil)
			var refused *plan.RefusedError
			require.ErrorAs(t, err, &refused)
			require.Len(t, refused.Problems, 2)
			assert.Contains(t, refused.Problems[0].Text, tt.reason)
		})
	}
}
