package controller

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/fleet"
)

// Ended says that a rotation has come to its end; it never runs again.
func Ended(r *v1alpha1.CertificateRotation) bool {
	switch r.Status.State {
	case v1alpha1.StateSucceeded, v1alpha1.StateRolledBack, v1alpha1.StateFailed, v1alpha1.StateNeedsPerson:
		return true
	}
	return false
}

// become moves a rotation to a state and says why in its message and conditions.
func become(r *v1alpha1.CertificateRotation, state v1alpha1.RotationState, message string, now time.Time) {
	s := &r.Status
	s.ObservedGeneration, s.State, s.Message = r.Generation, state, message
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	if state == v1alpha1.StateRunning && s.StartTime == nil {
		s.StartTime = &at
	}
	running, succeeded, failed := metav1.ConditionFalse, metav1.ConditionUnknown, metav1.ConditionUnknown
	switch {
	case state == v1alpha1.StateRunning:
		running = metav1.ConditionTrue
	case state == v1alpha1.StateSucceeded:
		succeeded, failed = metav1.ConditionTrue, metav1.ConditionFalse
	case Ended(r):
		succeeded, failed = metav1.ConditionFalse, metav1.ConditionTrue
	}
	if Ended(r) {
		s.CompletionTime = &at
	}
	for kind, status := range map[string]metav1.ConditionStatus{
		v1alpha1.ConditionRunning: running, v1alpha1.ConditionSucceeded: succeeded, v1alpha1.ConditionFailed: failed,
	} {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: string(state), Message: message,
			ObservedGeneration: r.Generation, LastTransitionTime: at,
		})
	}
}

// stateOf is how a rotation ended that the engine ended so.
func stateOf(report *v1alpha1.RotationReport, err error) v1alpha1.RotationState {
	switch {
	case err == nil:
		return v1alpha1.StateSucceeded
	case errors.Is(err, fleet.ErrInterrupted):
		return v1alpha1.StateInterrupted
	case errors.Is(err, fleet.ErrNeedsPerson):
		return v1alpha1.StateNeedsPerson
	case report != nil && report.Result == v1alpha1.RolledBack:
		return v1alpha1.StateRolledBack
	}
	return v1alpha1.StateFailed
}

// maxNodes bounds the status of a rotation over a large fleet, whose object must stay far
// below what etcd takes (1.5 MiB); beyond it only nodes that did not go well are listed.
const maxNodes = 2000

// told is a node's last phase.
func told(s *v1alpha1.CertificateRotationStatus, p fleet.Progress, now time.Time) {
	if p.Node == "" {
		return
	}
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Node != p.Node {
			continue
		}
		if n.Phase != string(p.Phase) {
			n.Phase, n.LastTransitionTime = string(p.Phase), at
		}
		n.Message = p.Text
		return
	}
	if len(s.Nodes) >= maxNodes && p.Phase != fleet.PhaseFailed && p.Phase != fleet.PhaseUndone {
		return
	}
	s.Nodes = append(s.Nodes, v1alpha1.RotationNodeStatus{Node: p.Node, Phase: string(p.Phase), Message: p.Text, LastTransitionTime: at})
}
