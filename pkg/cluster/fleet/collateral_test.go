package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

func TestCollateralIsWhatEndedAndWasNotRestartedByUs(t *testing.T) {
	running := time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)
	before := map[string]Restart{
		"etcd":                    {Count: 1, StartedAt: running},
		"kube-apiserver":          {Count: 1, StartedAt: running},
		"kube-controller-manager": {Count: 1, StartedAt: running},
		"kube-scheduler":          {Count: 1, StartedAt: running},
		"kube-proxy":              {Count: 4}, // waited for its back-off before
	}
	after := map[string]Restart{
		"etcd":                    {Count: 2, StartedAt: running.Add(time.Minute), Reason: "Completed, exit code 0"},
		"kube-apiserver":          {Count: 1, StartedAt: running},
		"kube-controller-manager": {Count: 2, StartedAt: running.Add(time.Minute), Reason: "Error, exit code 1"},
		"kube-scheduler":          {Count: 1, Reason: "Error, exit code 1"},
		"kube-proxy":              {Count: 4},
	}
	assert.Equal(t, []v1alpha1.Collateral{
		{Node: "cp1", Service: certs.KubeControllerManager, Reason: "restarted while the rotation worked on the node, not by it. Error, exit code 1"},
		{Node: "cp1", Service: certs.KubeScheduler, Reason: "ended while the rotation worked on the node, not by it, and was not started again yet. Error, exit code 1"},
	}, collateralOf("cp1", before, after, map[certs.Service]bool{certs.Etcd: true}))
}
