package kube

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// mostLeftovers bounds how many pods of earlier scans one scan removes.
const mostLeftovers = 500

// removeEndedScans deletes pods of earlier scans that were not deleted because their process
// was killed or could not reach the API server. Kubernetes has no time to live for a pod
// without a controller. The pods of the scan with the given id are left out. A pod that cannot
// be deleted is left to the next scan.
func removeEndedScans(ctx context.Context, client kubernetes.Interface, namespace, id string) {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	list, err := client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{
		LabelSelector: fmt.Sprintf("%s=%s,%s=%s,%s!=%s", LabelName, appName, LabelComponent, componentScan, LabelRotation, id), Limit: mostLeftovers,
	})
	if err != nil {
		return
	}
	for i := range list.Items {
		p := &list.Items[i]
		// An earlier end may be that of a scan in progress. The pod's time is by the API server's
		// clock, which may differ.
		if hasEnded(p) && time.Since(p.CreationTimestamp.Time) > 30*time.Minute {
			_ = client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
				Preconditions: &metav1.Preconditions{UID: &p.UID}, GracePeriodSeconds: new(int64)})
		}
	}
}

// mayBeInProgress reports whether a pod may belong to a scan that is in progress: a scan takes
// no lock, so "check" may run at any time.
func mayBeInProgress(p corev1.Pod) bool {
	return p.Labels[LabelComponent] != componentRotation && time.Since(p.CreationTimestamp.Time) < pullTimeout+scanDeadline
}
