package kube

import (
	"cmp"
	"fmt"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	corev1 "k8s.io/api/core/v1"
)

// LabelValue replaces characters that a label's value may not hold, such as the "+" of a version.
func LabelValue(s string) string { return labelValue(s) }

// PodTrouble returns the problem of a pod that does not run; nil: none is known. final says
// that it does not pass without intervention.
func PodTrouble(p *corev1.Pod) (trouble *PodError, final bool) {
	trouble, final = startTrouble(p, nil)
	if trouble == nil {
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
				trouble = &PodError{Reason: c.Reason, Message: c.Message}
			}
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		t := c.LastTerminationState.Terminated
		if w := c.State.Waiting; w != nil && w.Reason == "CrashLoopBackOff" && t != nil && trouble != nil {
			trouble.Err = hint.LastError(t.Message)
			trouble.Message = fmt.Sprintf("the program ended with code %d: %v", t.ExitCode, trouble.Err)
		}
	}
	if trouble != nil {
		trouble.Node = p.Spec.NodeName
		trouble.Pod = p.Namespace + "/" + p.Name
		trouble.Node = cmp.Or(trouble.Node, "no node yet")
	}
	return trouble, final
}
