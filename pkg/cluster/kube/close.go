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
)

// Close removes the pods of a rotation, or of every rotation where it is "", and
// waits until they are gone: deleted while it works, a pod first finishes or undoes
// that. It returns how many it removed, without those that only scanned. A pod that may
// not be deleted and that no process runs in any more counts as removed before.
func (n *Nodes) Close(ctx context.Context, rotation string) (int, error) {
	// In the end the connection at hand may lead to an API server that is sick by now.
	client := elsewhere(n.Client, n.Config)
	pods, err := n.list(ctx, client, rotation)
	if err != nil {
		return 0, err
	}
	removed, err := n.end(ctx, client, pods)
	if err != nil {
		return worked(removed), err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, w := range n.watches {
		if rotation == "" || id == rotation {
			w.stop()
			delete(n.watches, id)
		}
	}
	return worked(removed), nil
}

// list returns the pods of a rotation; of every rotation, and of scans that nobody
// waits for any more, where it is "". The orphans of a run with another --namespace
// are found where the caller may list pods everywhere.
func (n *Nodes) list(ctx context.Context, client kubernetes.Interface, rotation string) ([]corev1.Pod, error) {
	// Not the watcher and its agents, which bear the same name and live on.
	selector := fmt.Sprintf("%s=%s,%s in (%s,%s)", LabelName, appName, LabelComponent, componentScan, componentRotation)
	if rotation != "" {
		selector += "," + LabelRotation + "=" + rotation
	}
	options := metav1.ListOptions{LabelSelector: selector}
	namespaces := []string{n.Pods.namespace()}
	if rotation == "" {
		namespaces = []string{metav1.NamespaceAll, n.Pods.namespace()}
	}
	for i, namespace := range namespaces {
		found, err := listOnce(ctx, client, namespace, options)
		if apierrors.IsForbidden(err) && i+1 < len(namespaces) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list node pods: %w", err)
		}
		return slices.DeleteFunc(found, inUse), nil
	}
	return nil, nil
}

func listOnce(ctx context.Context, client kubernetes.Interface, namespace string, options metav1.ListOptions) ([]corev1.Pod, error) {
	for pause := (backoff{}); ; {
		list, err := client.CoreV1().Pods(namespace).List(ctx, options)
		if err == nil {
			return list.Items, nil
		}
		if !transient(err) || pause.wait(ctx) != nil {
			return nil, err
		}
	}
}

// worked counts the pods that did more than look.
func worked(pods []corev1.Pod) int {
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

// grace is what a pod is given to end: none where its process has said its last word, so
// that nobody waits until its kubelet has reported that; else what the pod has (nil).
func (n *Nodes) grace(uid types.UID) *int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.over[uid] {
		return new(int64)
	}
	return nil
}

// endsAtOnce is how many pods are removed at the same time.
const endsAtOnce = 8

// end deletes pods with the grace that each has, and waits until they are gone; what
// speaks against that first is told at once. It returns those that it deleted.
func (n *Nodes) end(ctx context.Context, client kubernetes.Interface, pods []corev1.Pod) ([]corev1.Pod, error) {
	var removing errgroup.Group
	removing.SetLimit(endsAtOnce)
	deleted := make([]bool, len(pods))
	for i, p := range pods {
		removing.Go(func() (err error) {
			deleted[i], err = n.remove(ctx, client, p)
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
		waiting.Go(func() error { return n.gone(ctx, client, p) })
	}
	return removed, waiting.Wait()
}

// remove deletes a pod. It returns false where it may not, and need not.
func (n *Nodes) remove(ctx context.Context, client kubernetes.Interface, p corev1.Pod) (bool, error) {
	for pause := (backoff{}); ; {
		err := client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, metav1.DeleteOptions{
			Preconditions: &metav1.Preconditions{UID: &p.UID}, GracePeriodSeconds: n.grace(p.UID)})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return true, nil
		}
		if apierrors.IsForbidden(err) {
			return false, n.mayNotDelete(ctx, client, p, err)
		}
		if !transient(err) || pause.wait(ctx) != nil {
			return false, fmt.Errorf("delete pod %q: %w", p.Namespace+"/"+p.Name, err)
		}
	}
}

// mayNotDelete says what it means that a pod may not be deleted. A scan changes nothing on
// its node, and a rotation's pod whose process has ended does not either: both may stay.
// A process that may still work on its node must not, since it would work there beside ours.
func (n *Nodes) mayNotDelete(ctx context.Context, client kubernetes.Interface, p corev1.Pod, refusal error) error {
	if p.Labels[LabelComponent] != componentRotation {
		return nil
	}
	// By a list: whoever may list pods everywhere may not therefore get them.
	name := p.Namespace + "/" + p.Name
	now, err := listOnce(ctx, client, p.Namespace, metav1.ListOptions{LabelSelector: LabelRotation + "=" + p.Labels[LabelRotation]})
	if err != nil {
		return fmt.Errorf("list pod %q, which may not be deleted: %w", name, err)
	}
	at := slices.IndexFunc(now, func(o corev1.Pod) bool { return o.UID == p.UID })
	switch {
	// The kubelets of old releases report a pod as failed whose process still ends.
	case at < 0, ended(&now[at]) && !running(&now[at]):
		return nil
	case p.Namespace == n.Pods.namespace():
		return fmt.Errorf("delete pod %q: %w", name, refusal)
	}
	return &PodError{Node: p.Spec.NodeName, Pod: name, Reason: "Held", Err: refusal,
		Message: "the node is held by another rotation, whose pod still runs and may not be deleted from here",
		Hint: fmt.Sprintf("without an order it ends by itself after 15 minutes; to end it sooner: kubectl -n %s delete pod %s, "+
			"upon which it finishes or undoes what it does", p.Namespace, p.Name)}
}

const (
	// goneTimeout bounds the wait for a pod's end: its kubelet kills it after its grace.
	goneTimeout = rotationGrace + 30*time.Second
	// sayGone is how long that may take before it is told.
	sayGone = 3 * time.Second
)

// gone waits until a deleted pod is gone. What a node does that reports nothing cannot
// be waited for. On a worker it harms nobody else; but as long as a process may be at
// work on a node of the control plane, no other may be touched.
func (n *Nodes) gone(ctx context.Context, client kubernetes.Interface, p corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	began, told := time.Now(), n.Waiting == nil
	for pause := (backoff{}); ; {
		there, err := client.CoreV1().Pods(p.Namespace).Get(ctx, p.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || (err == nil && there.UID != p.UID) {
			return nil
		}
		node := silent(ctx, client, p.Spec.NodeName)
		switch {
		case node == nil:
		case !node.ControlPlane:
			return nil
		default:
			return &PodError{Node: p.Spec.NodeName, Pod: p.Namespace + "/" + p.Name, Reason: "Unknown",
				Message: "the node reports nothing, so it cannot be seen whether the process there still works",
				Hint: fmt.Sprintf("see to it that its kubelet and its API server run (on %s: journalctl -u kubelet, and the logs below /var/log/pods), or, "+
					"if the machine is off for good, take it out of the cluster: kubectl delete node %s", p.Spec.NodeName, p.Spec.NodeName)}
		}
		if !told && time.Since(began) > sayGone {
			told = true
			n.Waiting(p.Spec.NodeName, fmt.Sprintf("the process of an earlier order finishes or undoes what it does; waiting for its end, %s at most", rotationGrace))
		}
		if waited := pause.wait(ctx); waited != nil {
			return &PodError{Node: p.Spec.NodeName, Pod: p.Namespace + "/" + p.Name, Reason: "Terminating", Err: waited,
				Message: "it was told to end, and its end was not reported",
				Hint:    fmt.Sprintf("it finishes or undoes what it does, for %s at most; is the node's kubelet running, and its API server?", rotationGrace)}
		}
	}
}

// silent returns a node that reports nothing any more; nil: it does, or it cannot be told.
func silent(ctx context.Context, client kubernetes.Interface, name string) *kubenode.Node {
	found, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	if node := kubenode.Describe(found); !node.Ready {
		return &node
	}
	return nil
}
