package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
)

const (
	// startTimeout is how long a pod may show no progress towards running.
	startTimeout = 30 * time.Second
	// silentTimeout is how long a kubelet may take to acknowledge a pod on its node. A kubelet
	// whose API servers were unavailable several times in a row, as in a rotation, waits for up
	// to a minute before it watches again [measured].
	silentTimeout = 90 * time.Second
	// pullTimeout is how long it may take where the image is being pulled.
	pullTimeout = 5 * time.Minute
)

// reasonSilent is a PodError's reason.
const reasonSilent = "KubeletSilent"

// podWatch has the latest state of a group of pods, by one watch.
type podWatch struct {
	client    kubernetes.Interface
	namespace string
	cancel    context.CancelFunc
	ended     chan struct{}

	mu      sync.Mutex
	pods    map[types.UID]*corev1.Pod // nil: seen, and deleted since
	changed chan struct{}             // closed and replaced at every change
	err     error
}

// watchPods starts to watch the pods of a label selector. The caller stops it.
func watchPods(ctx context.Context, client kubernetes.Interface, namespace, selector string) *podWatch {
	ctx, cancel := context.WithCancel(ctx)
	w := &podWatch{client: client, namespace: namespace, cancel: cancel, ended: make(chan struct{}),
		pods: map[types.UID]*corev1.Pod{}, changed: make(chan struct{})}
	go func() {
		defer close(w.ended)
		err := observeAll(ctx, podSource(client, namespace, selector), func(p *corev1.Pod, deleted bool) bool {
			w.setPod(p, deleted)
			return false
		})
		w.mu.Lock()
		defer w.mu.Unlock()
		w.err = err
		w.signalChange()
	}()
	return w
}

func (w *podWatch) stopWatch() {
	w.cancel()
	<-w.ended
}

func (w *podWatch) isAlive() bool {
	select {
	case <-w.ended:
		return false
	default:
		return true
	}
}

func (w *podWatch) setPod(p *corev1.Pod, deleted bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pods[p.UID] = p
	if deleted {
		w.pods[p.UID] = nil
	}
	w.signalChange()
}

func (w *podWatch) signalChange() {
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *podWatch) getPod(uid types.UID) (p *corev1.Pod, seen bool, changed <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p, seen = w.pods[uid]
	return p, seen, w.changed, w.err
}

// waitUntil waits until good returns true for a created pod, and returns its state. A pod that
// cannot start, that is deleted, or that makes no progress for startTimeout (silentTimeout,
// where its kubelet has not acknowledged it or has just started) is a [*PodError].
func (w *podWatch) waitUntil(ctx context.Context, pod *corev1.Pod, good func(*corev1.Pod) bool) (*corev1.Pod, error) {
	node := pod.Spec.NodeName
	name := pod.Name
	fail := func(e *PodError) error {
		e.Node = node
		e.Pod = w.namespace + "/" + name
		return e
	}
	began := time.Now()
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	var trouble *PodError
	waited := false // it was running when startTimeout was over
	for {
		p, seen, changed, err := w.getPod(pod.UID)
		switch {
		case p != nil:
			t, final := startTrouble(p, trouble)
			if final {
				return nil, fail(t)
			}
			if good(p) {
				return p, nil
			}
			if t != nil {
				trouble = t
			}
		case seen:
			return nil, fail(&PodError{Reason: "Deleted", Message: "it was deleted"})
		}
		if err != nil {
			return nil, fmt.Errorf("watch pod %q: %w", w.namespace+"/"+name, err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for pod %q: %w", w.namespace+"/"+name, ctx.Err())
		case <-changed:
		case <-deadline.C:
			if isRunning(p) && !waited {
				waited = true
				deadline.Reset(scanDeadline)
				continue
			}
			if waited {
				return nil, fail(&PodError{Reason: "Stuck", Next: hintKubelet,
					Message: fmt.Sprintf("it is running, but has not ended within %s", scanDeadline)})
			}
			if trouble.kubeletStarts() && time.Since(began) < silentTimeout {
				trouble = nil
				deadline.Reset(startTimeout)
				continue
			}
			if trouble == nil {
				var pulling bool
				trouble, pulling = w.explainPod(ctx, pod, p, time.Since(began))
				if trouble.Reason == reasonSilent && time.Since(began) < silentTimeout && notReadyNode(ctx, w.client, node) == nil {
					trouble = nil
					deadline.Reset(startTimeout)
					continue
				}
				if pulling && time.Since(began) < pullTimeout {
					trouble = nil
					deadline.Reset(startTimeout)
					continue
				}
				if pulling {
					trouble = &PodError{Reason: "Pulling", Next: hintImage,
						Message: fmt.Sprintf("image %q is still being pulled after %s", pod.Spec.Containers[0].Image, pullTimeout)}
				}
			}
			return nil, fail(trouble)
		}
	}
}

func podSource(client kubernetes.Interface, namespace, selector string) source[*corev1.Pod] {
	return source[*corev1.Pod]{
		list: func(ctx context.Context, o metav1.ListOptions) ([]*corev1.Pod, string, error) {
			o.LabelSelector = selector
			list, err := client.CoreV1().Pods(namespace).List(ctx, o)
			if err != nil {
				return nil, "", fmt.Errorf("list pods in namespace %q: %w", namespace, err)
			}
			return pointersTo(list.Items), list.ResourceVersion, nil
		},
		watch: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = selector
			return client.CoreV1().Pods(namespace).Watch(ctx, o)
		},
	}
}

func pointersTo[T any](in []T) []*T {
	out := make([]*T, len(in))
	for i := range in {
		out[i] = &in[i]
	}
	return out
}

func isRunning(p *corev1.Pod) bool {
	return slices.ContainsFunc(containerStatuses(p), func(c corev1.ContainerStatus) bool { return c.State.Running != nil })
}

// hasEnded reports whether the pod's process has ended and is not restarted.
func hasEnded(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func containerStatuses(p *corev1.Pod) []corev1.ContainerStatus {
	if p == nil {
		return nil
	}
	return p.Status.ContainerStatuses
}

// startTrouble returns the problem of a pod that has not started; nil: none is known. final
// says that it does not pass without intervention. before is the previous problem: only the
// first failure has the registry's message, the back-off after it does not repeat it.
func startTrouble(p *corev1.Pod, before *PodError) (e *PodError, final bool) {
	for _, c := range containerStatuses(p) {
		if w := c.State.Waiting; w != nil {
			return waitingTrouble(p, c, before)
		}
		if t := c.State.Terminated; t != nil && (t.Reason == "StartError" || t.Reason == "ContainerCannotRun") {
			return &PodError{Reason: t.Reason, Message: t.Message,
				Next: fmt.Sprintf("is %q a node image of this version?", p.Spec.Containers[0].Image)}, true
		}
	}
	if p.Status.Phase == corev1.PodFailed && p.Status.Reason != "" {
		e := &PodError{Reason: p.Status.Reason, Message: p.Status.Message}
		if strings.HasPrefix(e.Reason, "OutOf") {
			e.Next = "the node is full: kubectl describe node lists its pods"
		}
		return e, true
	}
	return nil, false
}

func waitingTrouble(p *corev1.Pod, c corev1.ContainerStatus, before *PodError) (*PodError, bool) {
	w := c.State.Waiting
	e := &PodError{Reason: w.Reason, Message: w.Message}
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError",
		"RegistryUnavailable", "SignatureValidationFailed":
		if before != nil && before.Reason == "ErrImagePull" {
			e.Message = before.Message
		} else {
			e.Message = fmt.Sprintf("image %q: %s", p.Spec.Containers[0].Image, w.Message)
		}
		e.Next = hintImage
		return e, w.Reason != "ErrImagePull" // which is tried once more at once
	case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
		if e.kubeletStarts() {
			e.Next = "its kubelet has just started; run the same command again"
		}
		return e, false // may be a hiccup of the runtime; the kubelet tries again
	case "CrashLoopBackOff":
		if t := c.LastTerminationState.Terminated; t != nil {
			e.Err = hint.LastError(t.Message)
			e.Message = fmt.Sprintf("the node program ended with code %d: %v", t.ExitCode, e.Err)
		}
		return e, true
	}
	return nil, false
}

// kubeletStarts says that a kubelet will start the pod, once it has read the cluster's Services
// (kubelet_pods.go of Kubernetes 1.30 to 1.37). After a reboot it may take more than 30 seconds
// longer for that than the API server takes to answer [measured].
func (e *PodError) kubeletStarts() bool {
	return e != nil && e.Reason == "CreateContainerConfigError" && strings.Contains(e.Message, "services have not yet been read")
}

// isInterrupted reports whether an error means only that ctx ended.
func isInterrupted(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
