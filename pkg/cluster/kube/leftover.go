package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	// mostLeftovers bounds what one scan removes of others' pods, so that it stays a scan.
	mostLeftovers = 500
	// leftoverAge is how old a pod is whose scan nobody waits for any more, with room for
	// clocks that differ: the age is that of the API server's clock by ours.
	leftoverAge = 30 * time.Minute
)

// removeEndedScans deletes the pods of scans that have ended and whose caller did not: it
// was killed, or could not reach the API server. Kubernetes itself has no time to live for
// a pod without a controller, and an owner that is removed in time does not exist. The pods
// of the scan with the given id are left out. What fails here is left to the next scan.
func removeEndedScans(ctx context.Context, client kubernetes.Interface, namespace, id string) {
	ctx, cancel := context.WithTimeout(ctx, cleanupTimeout)
	defer cancel()
	list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: fmt.Sprintf("%s=%s,%s=%s,%s!=%s", LabelName, appName, LabelComponent, componentScan, LabelRotation, id), Limit: mostLeftovers,
	})
	if err != nil {
		return
	}
	for i := range list.Items {
		p := &list.Items[i]
		if ended(p) && time.Since(p.CreationTimestamp.Time) > leftoverAge {
			_ = client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
				Preconditions: &metav1.Preconditions{UID: &p.UID}, GracePeriodSeconds: new(int64)})
		}
	}
}

// inUse says that a pod belongs to a scan that may still be waited for: anyone may
// check at any time, with no lock. Who is dead waits for nothing.
func inUse(p corev1.Pod) bool {
	return p.Labels[LabelComponent] != componentRotation && time.Since(p.CreationTimestamp.Time) < pullTimeout+scanDeadline &&
		!deadProcess(p.Annotations[annotationProcess])
}
