package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// explainPod finds in its events why a pod without a visible problem does not start.
func (w *podWatch) explainPod(ctx context.Context, pod, state *corev1.Pod, waited time.Duration) (e *PodError, pulling bool) {
	if state == nil || state.Status.StartTime == nil {
		return &PodError{Reason: reasonSilent, Next: hintKubelet,
			Message: fmt.Sprintf("the node's kubelet has not acknowledged it within %s", waited.Round(time.Second))}, false
	}
	e = &PodError{Reason: "NotStarted", Message: fmt.Sprintf("it did not start within %s", startTimeout),
		Next: fmt.Sprintf("kubectl -n %s get events --field-selector involvedObject.kind=Pod", w.namespace)}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	events, err := w.client.CoreV1().Events(w.namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.name=" + pod.Name,
	})
	if err != nil {
		return e, false // optional: reading events may not be permitted
	}
	for _, event := range events.Items {
		if event.InvolvedObject.UID != pod.UID {
			continue
		}
		switch {
		case event.Reason == "Pulling":
			pulling = true
		case event.Reason == "Pulled":
			pulling = false
		case event.Type == corev1.EventTypeWarning:
			e.Reason = event.Reason
			e.Message = event.Message
			pulling = false
		}
	}
	return e, pulling
}
