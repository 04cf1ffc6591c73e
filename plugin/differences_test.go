package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// TestPlanNamesDifferencesOfSuccessors, once for all nodes.
func TestPlanNamesDifferencesOfSuccessors(t *testing.T) {
	step := func(node string) plan.Step {
		return plan.Step{Node: node, Services: []plan.Service{{Service: certs.Etcd}, {Service: certs.KubeAPIServer, Because: "the key of apiserver lies in /pki/k.key, with that of etcd-server"}},
			Targets: []plan.Target{
				{Name: "etcd-server", NewNotAfter: noon.Add(365 * day), LifeSeconds: int64((3650 * day).Seconds()), LifeReason: `its CA "100%" ends then`, SharedKeyFile: "/pki/k.key"},
				{Name: "apiserver", NewNotAfter: noon.Add(365 * day), LifeSeconds: int64((365 * day).Seconds()), SharedKeyFile: "/pki/k.key"},
				{Name: "front-proxy-client", KeptKey: "also signs or verifies ServiceAccount tokens (--service-account-key-file of kube-apiserver)"},
			}}
	}
	p := plan.Plan{Waves: []plan.Wave{{Steps: []plan.Step{step("cp1")}}, {Steps: []plan.Step{step("cp2")}}}}
	text := strings.Join(planEffects(p, nil, plan.Request{Restart: plan.RestartAlways}, noon), "\n")
	for _, want := range []string{
		"cp1, cp2: the new certificate of etcd-server expires on " + printers.UTCDate(noon.Add(365*day)) + `; the old one was valid for 3650 days. Reason: its CA "100%" ends then.`,
		"cp1, cp2: the key of front-proxy-client stays, since it also signs or verifies ServiceAccount tokens (--service-account-key-file of kube-apiserver); only the certificate is new.",
		"cp1, cp2: etcd-server, apiserver share the key file /pki/k.key: they get one new key.",
		"cp1, cp2: kube-apiserver is included although it was not requested: the key of apiserver lies in /pki/k.key, with that of etcd-server.",
	} {
		assert.Equal(t, 1, strings.Count(text, want), want)
	}
	assert.NotContains(t, text, "new certificate of apiserver")
}

// TestPlanOfAnAgentDoesNotPromiseNewKeys: its servers may hand the key of all kubelets to it.
func TestPlanOfAnAgentDoesNotPromiseNewKeys(t *testing.T) {
	const stays = "that one stays until it is renewed on the servers"
	step := plan.Step{Node: "w1", RestartUnit: "k3s-agent.service", UnitCommand: "k3s certificate rotate", Targets: []plan.Target{{Service: certs.Kubelet}}}
	assert.Contains(t, unitRenewal(step), stays)
	step.ControlPlane = true
	assert.NotContains(t, unitRenewal(step), stays)
}
