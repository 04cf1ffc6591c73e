package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// RotationState is how far a CertificateRotation is, in a word.
type RotationState string

// The states. A rotation that is Interrupted goes on by itself.
const (
	StatePending                    RotationState = "Pending"                    // accepted, not begun: another one runs
	StateSuspended                  RotationState = "Suspended"                  // spec.suspend is set
	StateRunning                    RotationState = "Running"                    // nodes are worked on
	StateInterrupted                RotationState = "Interrupted"                // its watcher ended; the next one goes on
	StateSucceeded                  RotationState = "Succeeded"                  // done and verified, or nothing was left to do
	StateRolledBack                 RotationState = "RolledBack"                 // stopped; the failing node is as it was
	StateFailed                     RotationState = "Failed"                     // stopped before anything was changed on the failing node
	StateManualInterventionRequired RotationState = "ManualInterventionRequired" // a node is neither provably old nor new
	StateRefused                    RotationState = "Refused"                    // ended before it touched a node
	StateCanceled                   RotationState = "Canceled"                   // not begun: the policy did not allow it any more
)

// The condition types of a CertificateRotation.
const (
	// ConditionSucceeded is Unknown until the end. Its reason is the state, its message says
	// in a sentence how it stands, and why.
	ConditionSucceeded = "Succeeded"
	// ConditionReconciling and ConditionStalled are what kstatus, and with it Flux, reads of any
	// object: the first is True until the end, the second after an
	// end that is not a success; else there is none.
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	// ConditionLeftOut is True where certificates in scope could not be renewed, so that the
	// rotation was done without them. Its message names them.
	ConditionLeftOut = "LeftOut"
)

// State is how far the rotation is; empty: nobody has taken notice of it yet.
func (c *CertificateRotation) State() RotationState {
	if succeeded := c.succeeded(); succeeded != nil {
		return RotationState(succeeded.Reason)
	}
	return ""
}

// Message says in a sentence how it stands, and why.
func (c *CertificateRotation) Message() string {
	if succeeded := c.succeeded(); succeeded != nil {
		return succeeded.Message
	}
	return ""
}

func (c *CertificateRotation) succeeded() *metav1.Condition {
	return meta.FindStatusCondition(c.Status.Conditions, ConditionSucceeded)
}
