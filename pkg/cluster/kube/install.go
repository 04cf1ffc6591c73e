package kube

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// LabelValue makes a label's value of any text, such as a version.
func LabelValue(s string) string { return labelValue(s) }

// PodTrouble says why a pod does not run, nil where nothing speaks against it; final
// where it will not without somebody doing something.
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
			trouble.Message = fmt.Sprintf("the program ended with code %d: %s", t.ExitCode, lastLine(t.Message))
		}
	}
	if trouble != nil {
		trouble.Node, trouble.Pod = p.Spec.NodeName, p.Namespace+"/"+p.Name
		if trouble.Node == "" {
			trouble.Node = "no node yet"
		}
	}
	return trouble, final
}
