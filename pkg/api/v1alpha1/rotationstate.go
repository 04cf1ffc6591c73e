package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RotationState is the state of a CertificateRotation.
type RotationState string

// The states. An Interrupted rotation continues automatically.
const (
	StatePending                    RotationState = "Pending"                    // accepted, not started: another one is in progress
	StateSuspended                  RotationState = "Suspended"                  // spec.suspend is set
	StateRunning                    RotationState = "Running"                    // in progress
	StateInterrupted                RotationState = "Interrupted"                // its watcher stopped; the next one continues it
	StateSucceeded                  RotationState = "Succeeded"                  // done and verified, or there was nothing to do
	StateRolledBack                 RotationState = "RolledBack"                 // stopped; the failed node was rolled back
	StateFailed                     RotationState = "Failed"                     // stopped before anything was changed on the failed node
	StateManualInterventionRequired RotationState = "ManualInterventionRequired" // the state of a node is unknown
	StateRefused                    RotationState = "Refused"                    // ended before it touched a node
	StateCanceled                   RotationState = "Canceled"                   // not started: the policy does not allow it anymore
)

// The condition types of a CertificateRotation.
const (
	// ConditionSucceeded is Unknown until the end. Its reason is the state, its message explains
	// it.
	ConditionSucceeded = "Succeeded"
	// ConditionReconciling and ConditionStalled are read by kstatus, and with it by Flux: the
	// first is True until the end, the second after an end without success. Otherwise they are
	// absent.
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	// ConditionLeftOut is True if certificates in scope could not be renewed and were left out.
	// Its message names them.
	ConditionLeftOut = "LeftOut"
)

// IsEnd is true for the state of a rotation that never runs again.
func (s RotationState) IsEnd() bool {
	switch s {
	case StateSucceeded, StateRolledBack, StateFailed, StateManualInterventionRequired, StateRefused, StateCanceled:
		return true
	}
	return false
}

// HasEnded is true for a rotation that has ended; it never runs again.
func (c *CertificateRotation) HasEnded() bool { return c.State().IsEnd() }

// State is the state of the rotation; empty: the watcher has not seen it yet.
func (c *CertificateRotation) State() RotationState {
	if succeeded := c.succeededCondition(); succeeded != nil {
		return RotationState(succeeded.Reason)
	}
	return ""
}

// Message explains the state.
func (c *CertificateRotation) Message() string {
	if succeeded := c.succeededCondition(); succeeded != nil {
		return succeeded.Message
	}
	return ""
}

func (c *CertificateRotation) succeededCondition() *metav1.Condition {
	return meta.FindStatusCondition(c.Status.Conditions, ConditionSucceeded)
}
