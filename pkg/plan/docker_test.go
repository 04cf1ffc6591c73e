package plan_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestComponentInADockerContainer: it is restarted through Docker's socket, and left out where
// there is none, except for a scan to which no socket is visible.
func TestComponentInADockerContainer(t *testing.T) {
	n := controlPlane("cp1")
	n.Components[0].Runtime = inventory.Docker
	n.Components[0].ContainerName = "etcd"
	n.Components[0].Unit = "docker.service"
	n.Components[0].PID = 400
	n.CRISocket = ""
	n.DockerSocket = "/run/docker.sock"
	step := buildPlan(t, newRequest(certs.Etcd), n).AllSteps()[0]
	assert.Equal(t, []certs.Service{certs.Etcd}, step.Restarts)
	assert.Equal(t, "/run/docker.sock", step.DockerSocket)
	assert.Empty(t, step.CRISocket+step.DBusSocket)
	assert.Contains(t, step.Directories, plan.UnitDirectory, "a recovery unit before docker.service")

	n.DockerSocket = ""
	req := newRequest(certs.Etcd, certs.Kubelet)
	p := buildPlan(t, req, n)
	assert.Contains(t, p.LeftOut[0].Reason, `etcd runs, and Docker, whose container "etcd" it is, cannot be reached on this node: there is no /run/docker.sock; nothing here can restart it; use --restart=never`)
	n.SocketsHidden = true
	assert.Empty(t, buildPlan(t, req, n).LeftOut)
}
