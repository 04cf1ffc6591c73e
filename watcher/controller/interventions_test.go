package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

func TestInterventions(t *testing.T) {
	ended := func(state v1alpha1.RotationState, hour int, phases map[string]fleet.Phase) v1alpha1.CertificateRotation {
		at := metav1.NewTime(noon.Add(time.Duration(hour) * time.Hour))
		c := v1alpha1.CertificateRotation{}
		setState(&c, state, "", at.Time)
		for node, phase := range phases {
			c.Status.Nodes = append(c.Status.Nodes, v1alpha1.RotationNodeStatus{Node: node, Phase: phaseName(phase)})
		}
		return c
	}
	both := ended(v1alpha1.StateManualInterventionRequired, 1, map[string]fleet.Phase{"cp1": fleet.PhaseVerified, "cp2": fleet.PhaseFailed, "cp3": fleet.PhaseFailed})
	nowhere := ended(v1alpha1.StateManualInterventionRequired, 1, nil)
	success := func(hour int, node string) v1alpha1.CertificateRotation {
		return ended(v1alpha1.StateSucceeded, hour, map[string]fleet.Phase{node: fleet.PhaseVerified})
	}
	for _, c := range []struct {
		name string
		all  []v1alpha1.CertificateRotation
		want int
	}{
		{"none", nil, 0},
		{"a failure leaves the old certificates", []v1alpha1.CertificateRotation{ended(v1alpha1.StateFailed, 1, map[string]fleet.Phase{"cp2": fleet.PhaseFailed})}, 0},
		{"one", []v1alpha1.CertificateRotation{both}, 1},
		{"two", []v1alpha1.CertificateRotation{both, nowhere}, 2},
		{"an earlier success repairs nothing", []v1alpha1.CertificateRotation{both, success(0, "cp2"), success(0, "cp3")}, 1},
		{"one of two nodes is repaired", []v1alpha1.CertificateRotation{both, success(2, "cp2")}, 1},
		{"both are repaired", []v1alpha1.CertificateRotation{success(3, "cp3"), both, success(2, "cp2")}, 0},
		{"a node that was left out is not repaired", []v1alpha1.CertificateRotation{both, success(2, "cp2"),
			ended(v1alpha1.StateSucceeded, 2, map[string]fleet.Phase{"cp3": skipped})}, 1},
		{"without a node, none repairs it", []v1alpha1.CertificateRotation{nowhere, success(2, "cp2")}, 1},
	} {
		assert.Equal(t, c.want, CountInterventions(c.all), c.name)
	}
}
