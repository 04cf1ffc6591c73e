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
)

// Ended says that a rotation has come to its end; it never runs again.
func Ended(r *v1alpha1.CertificateRotation) bool { return ended(r.State()) }

func ended(state v1alpha1.RotationState) bool {
	switch state {
	case v1alpha1.StateSucceeded, v1alpha1.StateRolledBack, v1alpha1.StateFailed, v1alpha1.StateManualInterventionRequired, v1alpha1.StateRefused, v1alpha1.StateCanceled:
		return true
	}
	return false
}

// become moves a rotation to a state, and says why in its conditions.
func become(r *v1alpha1.CertificateRotation, state v1alpha1.RotationState, message string, now time.Time) {
	s, at := &r.Status, metav1.NewTime(now.UTC().Truncate(time.Second))
	s.ObservedGeneration = r.Generation
	set := func(kind string, status metav1.ConditionStatus) {
		meta.SetStatusCondition(&s.Conditions, metav1.Condition{
			Type: kind, Status: status, Reason: string(state), Message: clip(message, maxWords),
			ObservedGeneration: r.Generation, LastTransitionTime: at,
		})
	}
	meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionStalled)
	switch {
	case state == v1alpha1.StateSucceeded:
		set(v1alpha1.ConditionSucceeded, metav1.ConditionTrue)
	case ended(state):
		set(v1alpha1.ConditionSucceeded, metav1.ConditionFalse)
		set(v1alpha1.ConditionStalled, metav1.ConditionTrue)
	default:
		set(v1alpha1.ConditionSucceeded, metav1.ConditionUnknown)
		set(v1alpha1.ConditionReconciling, metav1.ConditionTrue)
	}
	if ended(state) {
		meta.RemoveStatusCondition(&s.Conditions, v1alpha1.ConditionReconciling)
		s.CompletionTime = &at
	}
	if state == v1alpha1.StateRunning && s.StartTime == nil {
		s.StartTime = &at
	}
}

// leaveOut writes down which certificates a rotation did not renew.
func leaveOut(r *v1alpha1.CertificateRotation, left []v1alpha1.LeftOut, now time.Time) {
	r.Status.LeftOut = left[:min(len(left), maxLeftOut)]
	if len(left) == 0 {
		return
	}
	for i := range r.Status.LeftOut {
		r.Status.LeftOut[i].Reason = clip(r.Status.LeftOut[i].Reason, maxText)
	}
	meta.SetStatusCondition(&r.Status.Conditions, metav1.Condition{
		Type: v1alpha1.ConditionLeftOut, Status: metav1.ConditionTrue, Reason: "NotRenewable", Message: clip(leftOutWords(left), maxWords),
		ObservedGeneration: r.Generation, LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
	})
}

// leftOutWords names a few certificates that were left out.
func leftOutWords(left []v1alpha1.LeftOut) string {
	names := make([]string, 0, len(left))
	for _, l := range left {
		names = append(names, l.Name+" of "+l.Node)
	}
	return "left out, since it cannot be renewed: " + fleet.Some(names)
}

// stateOf is how a rotation ended that the engine ended so.
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
	case untouched(report):
		return v1alpha1.StateRefused
	}
	return v1alpha1.StateFailed
}

// refusedOr is Refused for a rotation that has not begun on any node, else the other state.
func refusedOr(c *v1alpha1.CertificateRotation, begun v1alpha1.RotationState) v1alpha1.RotationState {
	if c.Status.RotationID == "" {
		return v1alpha1.StateRefused
	}
	return begun
}

// refusedForGood says that the API server will not take a status the next time either, until
// a person changes a definition or a right.
func refusedForGood(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsBadRequest(err)
}

// untouched says that a rotation came to its end without having begun on any node: the
// cluster was not healthy enough, say, or the API server refused its pods.
func untouched(report *v1alpha1.RotationReport) bool {
	return report == nil || !slices.ContainsFunc(report.Items, func(i v1alpha1.RotationItem) bool {
		return i.Result != v1alpha1.Skipped && i.Result != v1alpha1.NoCertificate
	})
}

// What a status holds at the most. The object must stay far below what etcd takes
// (1.5 MiB), and Kubernetes refuses a condition with a longer message. Beyond maxNodes only
// nodes that did not go well are listed, in the place of those that did.
const (
	maxNodes   = 2000
	maxLeftOut = 1000
	maxText    = 256
	maxWords   = 8 << 10
)

// clip cuts a text to a number of bytes.
func clip(text string, most int) string {
	const more = "…"
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len(more)], "") + more
}

// told is a node's last phase.
func told(s *v1alpha1.CertificateRotationStatus, p fleet.Progress, now time.Time) {
	if p.Node == "" {
		return
	}
	next := v1alpha1.RotationNodeStatus{
		Node: p.Node, Phase: phaseName(p.Phase), Message: clip(p.Text, maxText), LastTransitionTime: metav1.NewTime(now.UTC().Truncate(time.Second)),
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
	case wentWrong(next):
		if at = slices.IndexFunc(s.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return !wentWrong(n) }); at >= 0 {
			s.Nodes[at] = next
		}
	}
}

// wentWrong says that a rotation failed on a node.
func wentWrong(n v1alpha1.RotationNodeStatus) bool {
	return n.Phase == phaseName(fleet.PhaseFailed) || n.Phase == phaseName(fleet.PhaseUndone)
}

// phaseName is a phase as the API names it, in CamelCase.
func phaseName(p fleet.Phase) string { return strings.ToUpper(string(p[:1])) + string(p[1:]) }

// tooMuch says that the API server does not take an object because of its size or content:
// it will not take it the next time either.
func tooMuch(err error) bool {
	return apierrors.IsInvalid(err) || apierrors.IsRequestEntityTooLargeError(err) || strings.Contains(err.Error(), "too large")
}

// shorten gives up what is said in the nodes' journals and in the log as well, so that the
// state itself can be written.
func shorten(s *v1alpha1.CertificateRotationStatus) {
	const enough = 100
	s.Nodes = slices.DeleteFunc(s.Nodes, func(n v1alpha1.RotationNodeStatus) bool { return !wentWrong(n) })
	s.Nodes = s.Nodes[:min(len(s.Nodes), enough)]
	s.LeftOut = s.LeftOut[:min(len(s.LeftOut), enough)]
	s.Notes = nil
}
