package plugin

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func TestPlanNamesOtherUsersOfReplacedFiles(t *testing.T) {
	vip := inventory.OtherUser{Kind: inventory.OtherStaticPod, Name: "kube-vip", Restartable: true}
	c := inventory.Certificate{Service: certs.Admin, Name: "admin.conf", Store: inventory.Store{Cert: "/etc/kubernetes/admin.conf"},
		OtherUsers: []inventory.OtherUser{vip, {Kind: inventory.OtherUnit, Name: "exporter.service"}, {Kind: inventory.OtherHardLink, Name: "/root/admin.conf"}}, MayUse: []string{"logs"}}
	nodes := []inventory.Node{{Name: "cp1", Certificates: []inventory.Certificate{c}}, {Name: "cp2", Certificates: []inventory.Certificate{c}}}
	step := func(node string) plan.Step {
		return plan.Step{Node: node, OtherRestarts: []inventory.OtherUser{vip},
			Targets: []plan.Target{{ID: c.ID(), Service: c.Service, Name: c.Name, Path: c.Store.Cert}}}
	}
	p := plan.Plan{Waves: []plan.Wave{{Steps: []plan.Step{step("cp1")}}, {Steps: []plan.Step{step("cp2")}}}}
	text := strings.Join(planEffects(p, nodes, plan.Request{Restart: plan.RestartAlways}, noon), "\n")
	assert.Contains(t, text, "Also restarts kube-vip on cp1, cp2, which uses /etc/kubernetes/admin.conf.")
	assert.Contains(t, text, "exporter.service on cp1, cp2 uses /etc/kubernetes/admin.conf and is not restarted")
	assert.Contains(t, text, "logs on cp1, cp2 mounts /etc/kubernetes and may use the replaced files")
	assert.Contains(t, text, "/root/admin.conf on cp1, cp2 is a hard link to /etc/kubernetes/admin.conf and keeps the old certificate")
	assert.NotContains(t, text, "not used by a running component")
	assert.Equal(t, "kube-vip", allRestarts(planStep(step("cp1"), 1)))
}
