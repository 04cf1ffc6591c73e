package kube

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Close deletes the pods of a rotation, or of every rotation where it is "", and waits until
// they are deleted: a pod in progress first finishes or rolls back. It returns how many it
// deleted, without scan pods. A pod with an ended process that may not be deleted is left.
func (n *Nodes) Close(ctx context.Context, rotation string) (int, error) {
	// By now the present connection may lead to an API server that is not ready.
	client := viaNewConnection(n.Client, n.Config)
	pods, err := n.listPods(ctx, client, rotation)
	if err != nil {
		return 0, err
	}
	removed, err := n.endPods(ctx, client, pods)
	if err != nil {
		return countRotationPods(removed), err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, w := range n.watches {
		if rotation == "" || id == rotation {
			w.stopWatch()
			delete(n.watches, id)
		}
	}
	return countRotationPods(removed), nil
}

// listPods returns the pods of a rotation, or, where it is "", of every rotation and of scans that
// have ended. Pods of a run with another --namespace are found where the caller may list pods
// in all namespaces.
func (n *Nodes) listPods(ctx context.Context, client kubernetes.Interface, rotation string) ([]corev1.Pod, error) {
	// Not the watcher and its agents, which have the same name label.
	selector := fmt.Sprintf("%s=%s,%s in (%s,%s)", LabelName, appName, LabelComponent, componentScan, componentRotation)
	if rotation != "" {
		selector += "," + LabelRotation + "=" + rotation
	}
	options := metav1.ListOptions{LabelSelector: selector}
	namespaces := []string{n.Pods.podNamespace()}
	if rotation == "" {
		namespaces = []string{metav1.NamespaceAll, n.Pods.podNamespace()}
	}
	for i, namespace := range namespaces {
		found, err := listOnce(ctx, client, namespace, options)
		if apierrors.IsForbidden(err) && i+1 < len(namespaces) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list node pods: %w", err)
		}
		return slices.DeleteFunc(found, mayBeInProgress), nil
	}
	return nil, nil
}

func listOnce(ctx context.Context, client kubernetes.Interface, namespace string, options metav1.ListOptions) ([]corev1.Pod, error) {
	for pause := (wait.Backoff{}); ; {
		list, err := client.CoreV1().Pods(namespace).List(ctx, options)
		if err == nil {
			return list.Items, nil
		}
		if !isTransient(err) || pause.WaitLonger(ctx) != nil {
			return nil, err
		}
	}
}

// countRotationPods counts the pods that may have changed their node.
func countRotationPods(pods []corev1.Pod) int {
	n := 0
	for _, p := range pods {
		if p.Labels[LabelComponent] == componentRotation {
			n++
		}
	}
	return n
}

func (n *Nodes) isOver(uid types.UID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over == nil {
		n.over = map[types.UID]bool{}
	}
	n.over[uid] = true
}

// gracePeriod is the grace period of a deletion: none where the pod's process has written its last
// record, so that its end need not be reported by the kubelet; else that of the pod (nil).
func (n *Nodes) gracePeriod(uid types.UID) *int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over[uid] {
		return new(int64)
	}
	return nil
}

// endsAtOnce is how many pods are removed at the same time.
const endsAtOnce = 8

// endPods deletes pods with the grace period of each, and waits until they are deleted. The first
// error is returned at once. It returns the pods that it deleted.
func (n *Nodes) endPods(ctx context.Context, client kubernetes.Interface, pods []corev1.Pod) ([]corev1.Pod, error) {
	var removing errgroup.Group
	removing.SetLimit(endsAtOnce)
	deleted := make([]bool, len(pods))
	for i, p := range pods {
		removing.Go(func() (err error) {
			deleted[i], err = n.removePod(ctx, client, p)
			return err
		})
	}
	err := removing.Wait()
	var removed []corev1.Pod
	for i, p := range pods {
		if deleted[i] {
			removed = append(removed, p)
		}
	}
	if err != nil {
		return removed, err
	}
	waiting, ctx := errgroup.WithContext(ctx)
	for _, p := range removed {
		waiting.Go(func() error { return n.awaitDeleted(ctx, client, p) })
	}
	return removed, waiting.Wait()
}

// removePod deletes a pod. It returns false where that is forbidden and not necessary.
func (n *Nodes) removePod(ctx context.Context, client kubernetes.Interface, p corev1.Pod) (bool, error) {
	for pause := (wait.Backoff{}); ; {
		err := client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &p.UID}, GracePeriodSeconds: n.gracePeriod(p.UID)})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return true, nil
		}
		if apierrors.IsForbidden(err) {
			return false, n.mayNotDelete(ctx, client, p, err)
		}
		if !isTransient(err) || pause.WaitLonger(ctx) != nil {
			return false, fmt.Errorf("delete pod %q: %w", p.Namespace+"/"+p.Name, err)
		}
	}
}

// mayNotDelete decides whether a pod that may not be deleted can stay. A scan changes nothing
// on its node, and neither does a rotation pod with an ended process: both can stay. A
// process that may still change its node cannot, since two would change it at the same time.
func (n *Nodes) mayNotDelete(ctx context.Context, client kubernetes.Interface, p corev1.Pod, refusal error) error {
	if p.Labels[LabelComponent] != componentRotation {
		return nil
	}
	// By a list: the permission to list pods does not include the one to get them.
	name := p.Namespace + "/" + p.Name
	now, err := listOnce(ctx, client, p.Namespace, metav1.ListOptions{LabelSelector: LabelRotation + "=" + p.Labels[LabelRotation]})
	if err != nil {
		return fmt.Errorf("list pod %q, which may not be deleted: %w", name, err)
	}
	at := slices.IndexFunc(now, func(o corev1.Pod) bool { return o.UID == p.UID })
	switch {
	// The kubelets of old releases report a pod as failed while its process still ends.
	case at < 0, hasEnded(&now[at]) && !isRunning(&now[at]):
		return nil
	case p.Namespace == n.Pods.podNamespace():
		return fmt.Errorf("delete pod %q: %w", name, refusal)
	}
	return &PodError{Node: p.Spec.NodeName, Pod: name, Reason: "Held", Err: refusal,
		Message: "the node is held by another rotation, whose pod still runs and may not be deleted from here",
		Next: fmt.Sprintf("it ends 15 minutes after its last order; to end it sooner: kubectl -n %s delete pod %s, "+
			"it then finishes or rolls back first", p.Namespace, p.Name)}
}

// awaitDeleted waits until a pod is deleted. On a NotReady node that cannot be observed. On a
// worker the wait ends there, since its process affects no other node. On a control-plane node
// it is an error: while a process may change it, no other node may be touched.
func (n *Nodes) awaitDeleted(ctx context.Context, client kubernetes.Interface, p corev1.Pod) error {
	// The kubelet kills the pod after its grace period.
	ctx, cancel := context.WithTimeout(ctx, rotationGrace+30*time.Second)
	defer cancel()
	began := time.Now()
	reported := n.Waiting == nil
	for pause := (wait.Backoff{}); ; {
		there, err := client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || (err == nil && there.UID != p.UID) {
			return nil
		}
		node := notReadyNode(ctx, client, p.Spec.NodeName)
		switch {
		case node == nil:
		case !node.ControlPlane:
			return nil
		default:
			return &PodError{Node: p.Spec.NodeName, Pod: p.Namespace + "/" + p.Name, Reason: "Unknown",
				Message: "the node is NotReady, so it is unknown whether the process there is still running",
				Next: fmt.Sprintf("fix its kubelet and its API server (on %s: journalctl -u kubelet, and the logs below /var/log/pods), or, "+
					"if the machine will not return: kubectl delete node %s", p.Spec.NodeName, p.Spec.NodeName)}
		}
		if !reported && time.Since(began) > 3*time.Second {
			reported = true
			n.Waiting(p.Spec.NodeName, fmt.Sprintf("the process of an earlier order finishes or rolls back; waiting for its end, %s at most", rotationGrace))
		}
		if waited := pause.WaitLonger(ctx); waited != nil {
			return &PodError{Node: p.Spec.NodeName, Pod: p.Namespace + "/" + p.Name, Reason: "Terminating", Err: waited,
				Message: "it was deleted, and its kubelet has not reported its end",
				Next:    fmt.Sprintf("it finishes or rolls back within %s; is the node's kubelet running, and its API server?", rotationGrace)}
		}
	}
}

// notReadyNode returns a node that is NotReady; nil: it is Ready, or its state cannot be read.
func notReadyNode(ctx context.Context, client kubernetes.Interface, name string) *kubenode.Node {
	found, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	if node := kubenode.Describe(found); !node.Ready {
		return &node
	}
	return nil
}
