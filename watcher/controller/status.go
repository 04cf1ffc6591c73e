package controller

import (
	"errors"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// setState sets the state of a rotation and the message that explains it.
func setState(r *v1alpha1.CertificateRotation, state v1alpha1.RotationState, message string, now time.Time) {
	s := &r.Status
	at := metav1.NewTime(now.UTC().Truncate(time.Second))
	s.ObservedGeneration = r.Generation
	set := func(kind string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: string(state), Message: clipText(message, maxMessage),
			ObservedGeneration: r.Generation, LastTransitionTime: at,
		})
	}
	meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionStalled)
	switch {
	case state == v1alpha1.StateSucceeded:
		set(v1alpha1.ConditionSucceeded, metav1.ConditionTrue)
	case state.IsEnd():
		set(v1alpha1.ConditionSucceeded, metav1.ConditionFalse)
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue)
	default:
		set(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown)
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue)
	}
	if state.IsEnd() {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
		s.CompletionTime = &at
	}
	if state == v1alpha1.StateRunning && s.StartTime == nil {
		s.StartTime = &at
	}
}

// setLeftOut records the certificates that a rotation did not renew.
func setLeftOut(r *v1alpha1.CertificateRotation, left []v1alpha1.LeftOut, now time.Time) {
	r.Status.LeftOut = left[:min(len(left), maxLeftOut)]
	if len(left) == 0 {
		return
	}
	for i := range r.Status.LeftOut {
		r.Status.LeftOut[i].Reason = clipText(r.Status.LeftOut[i].Reason, maxText)
	}
	meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionLeftOut, Status: metav1.ConditionTrue, Reason: "NotRenewable", Message: clipText(leftOutWords(left), maxMessage),
		ObservedGeneration: r.Generation, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	})
}

// leftOutWords names a few certificates that were left out.
func leftOutWords(left []v1alpha1.LeftOut) string {
	names := make([]string, 0, len(left))
	for _, l := range left {
		names = append(names, l.Name+" of "+l.Node)
	}
	return "left out, cannot be renewed: " + printers.SomeNames(names)
}

// stateOf is the state of a rotation after the engine has returned.
func stateOf(report *v1alpha1.RotationReport, err error) v1alpha1.RotationState {
	switch {
	case err == nil:
		return v1alpha1.StateSucceeded
	case errors.Is(err, fleet.ErrInterrupted):
		return v1alpha1.StateInterrupted
	case errors.Is(err, fleet.ErrManualInterventionRequired):
		return v1alpha1.StateManualInterventionRequired
	case report != nil && report.Result == v1alpha1.RolledBack:
		return v1alpha1.StateRolledBack
	case noNodeTouched(report):
		return v1alpha1.StateRefused
	}
	return v1alpha1.StateFailed
}

// refusedUnlessBegun is Refused for a rotation that has not started on any node, else the
// given state.
func refusedUnlessBegun(c *v1alpha1.CertificateRotation, begun v1alpha1.RotationState) v1alpha1.RotationState {
	if c.Status.RotationID == "" {
		return v1alpha1.StateRefused
	}
	return begun
}

// permanentlyRefused is true if the API server will refuse the status again, until an operator
// changes a definition or a right.
func permanentlyRefused(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// noNodeTouched is true if a rotation ended before it started on any node, for example because
// the cluster was not healthy or the API server refused its pods.
func noNodeTouched(report *v1alpha1.RotationReport) bool {
	return report == nil || !slices.ContainsFunc(report.Items, func(i v1alpha1.RotationItem) bool {
		return i.Result != v1alpha1.Skipped && i.Result != v1alpha1.NoCertificate
	})
}

// Limits of a status. The object must be far smaller than etcd allows (1.5 MiB), and
// Kubernetes refuses a condition with a longer message. Beyond maxNodes, a failed node
// replaces one that did not fail.
const (
	maxNodes   = 2000
	maxLeftOut = 1000
	maxText    = 256
	maxMessage = 8 << 10
)

// clipText shortens a text to a number of bytes.
func clipText(text string, most int) string {
	const more = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}

// recordPhase records the last phase of a node.
func recordPhase(s *v1alpha1.CertificateRotationStatus, p fleet.Progress, now time.Time) {
	if p.Node == "" {
		return
	}
	next := v1alpha1.RotationNodeStatus{
		Node: p.Node, Phase: phaseName(p.Phase), Message: clipText(p.Text, maxText), LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	}
	at := slices.IndexFunc(s.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return n.Node == p.Node })
	switch {
	case at >= 0:
		if s.Nodes[at].Phase == next.Phase {
			next.LastTransitionTime = s.Nodes[at].LastTransitionTime
		}
		s.Nodes[at] = next
	case len(s.Nodes) < maxNodes:
		s.Nodes = append(s.Nodes, next)
	case failedOn(next):
		if at = slices.IndexFunc(s.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return !failedOn(n) }); at >= 0 {
			s.Nodes[at] = next
		}
	}
}

// failedOn is true if the rotation failed on this node.
func failedOn(n v1alpha1.RotationNodeStatus) bool {
	return n.Phase == phaseName(fleet.PhaseFailed) || n.Phase == phaseName(fleet.PhaseUndone)
}

// phaseName is the name of a phase in the API, in CamelCase.
func phaseName(p fleet.Phase) string { return strings.ToUpper(string(p[:1])) + string(p[1:]) }

// objectTooLarge is true if the API server refuses an object because of its size or content,
// and will refuse it again.
func objectTooLarge(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) || strings.Contains(err.Error(), "too large")
}

// shortenStatus drops details that are also in the journals of the nodes and in the log, so
// that the state can be written.
func shortenStatus(s *v1alpha1.CertificateRotationStatus) {
	const enough = 100
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return !failedOn(n) })
	s.Nodes = s.Nodes[:min(len(s.Nodes), enough)]
	s.LeftOut = s.LeftOut[:min(len(s.LeftOut), enough)]
	s.Notes = nil
}
