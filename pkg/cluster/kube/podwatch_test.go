package kube

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, StartTime: &metav1.Time{}, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}
}

func terminated(phase corev1.PodPhase, reason string, code int32) corev1.PodStatus {
	return corev1.PodStatus{Phase: phase, StartTime: &metav1.Time{}, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: reason, ExitCode: code, Message: "words"}},
	}}}
}

func TestStartTrouble(t *testing.T) {
	const unauthorized = `failed to pull image: registry.test/node:1: unexpected status: 401 Unauthorized`
	for name, tc := range map[string]struct {
		status corev1.PodStatus
		before *PodError
		final  bool
		want   *PodError // nil: no trouble
	}{
		"being created": {status: waiting("ContainerCreating", "")},
		"running":       {status: corev1.PodStatus{Phase: corev1.PodRunning}},
		"succeeded":     {status: terminated(corev1.PodSucceeded, "Completed", 0)},
		"its program failed, which is no trouble of starting": {status: terminated(corev1.PodFailed, "Error", 1)},
		"a first failed pull, which is tried again": {
			status: waiting("ErrImagePull", unauthorized),
			want:   &PodError{Reason: "ErrImagePull", Message: `image "registry.test/node:1": ` + unauthorized, Next: hintImage},
		},
		"a second one, in the registry's words of the first": {
			status: waiting("ImagePullBackOff", "Back-off pulling image"), final: true,
			before: &PodError{Reason: "ErrImagePull", Message: `image "registry.test/node:1": ` + unauthorized},
			want:   &PodError{Reason: "ImagePullBackOff", Message: `image "registry.test/node:1": ` + unauthorized, Next: hintImage},
		},
		"a name that is none": {
			status: waiting("InvalidImageName", "couldn't parse"), final: true,
			want: &PodError{Reason: "InvalidImageName", Message: `image "registry.test/node:1": couldn't parse`, Next: hintImage},
		},
		"a hiccup of the runtime": {
			status: waiting("CreateContainerError", "context deadline exceeded"),
			want:   &PodError{Reason: "CreateContainerError", Message: "context deadline exceeded"},
		},
		"an image without our program": {
			status: terminated(corev1.PodFailed, "StartError", 128), final: true,
			want: &PodError{Reason: "StartError", Message: "words", Next: `is "registry.test/node:1" a node image of this version?`},
		},
		"a full node": {
			status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "too many pods"}, final: true,
			want: &PodError{Reason: "OutOfpods", Message: "too many pods", Next: "the node is full: kubectl describe node lists its pods"},
		},
		"evicted": {
			status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "Evicted", Message: "disk pressure"}, final: true,
			want: &PodError{Reason: "Evicted", Message: "disk pressure"},
		},
		"ends again and again": {
			status: func() corev1.PodStatus {
				s := waiting("CrashLoopBackOff", "back-off")
				s.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 2, Message: "a\nerror: no such rotation\nhint: see its history\n"}
				return s
			}(), final: true,
			want: &PodError{Reason: "CrashLoopBackOff", Message: "the node program ended with code 2: error: no such rotation",
				Err: hint.AddTo(errors.New("error: no such rotation"), "see its history")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := ScanPod("w1", "1", options)
			p.Status = tc.status
			got, final := startTrouble(p, tc.before)
			assert.Equal(t, tc.want, got)
			assert.Equal(t, tc.final, final)
		})
	}
}

// started creates a scan pod on w1 and returns a function that sets its status.
func started(t *testing.T, c *fake.Clientset) (p *corev1.Pod, set func(corev1.PodStatus)) {
	t.Helper()
	p, err := createPod(t.Context(), c, ScanPod("w1", "1", options))
	require.NoError(t, err)
	return p, func(s corev1.PodStatus) {
		now := p.DeepCopy()
		now.Status = s
		_, err := c.CoreV1().Pods(p.Namespace).UpdateStatus(t.Context(), now, metav1.UpdateOptions{})
		require.NoError(t, err)
	}
}

func event(p *corev1.Pod, name, kind, reason, message string) *corev1.Event {
	return &corev1.Event{
		ObjectMeta:     metav1.ObjectMeta{Namespace: p.Namespace, Name: name},
		InvolvedObject: corev1.ObjectReference{Name: p.Name, UID: p.UID}, Type: kind, Reason: reason, Message: message,
	}
}

func TestUntil(t *testing.T) {
	const unread = "services have not yet been read at least once, cannot construct envvars"
	for name, tc := range map[string]struct {
		happens func(t *testing.T, c *fake.Clientset, p *corev1.Pod, set func(corev1.PodStatus))
		want    string // reason of the error; empty: it ends well
		words   string
		within  time.Duration
	}{
		"it ends": {func(_ *testing.T, _ *fake.Clientset, _ *corev1.Pod, set func(corev1.PodStatus)) {
			set(corev1.PodStatus{Phase: corev1.PodRunning})
			set(terminated(corev1.PodSucceeded, "Completed", 0))
		}, "", "", time.Second},
		"a bad image is known at the second failure": {func(_ *testing.T, _ *fake.Clientset, _ *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("ErrImagePull", "not found"))
			time.AfterFunc(5*time.Second, func() { set(waiting("ImagePullBackOff", "Back-off")) })
		}, "ImagePullBackOff", "not found", 6 * time.Second},
		"a silent kubelet": {func(*testing.T, *fake.Clientset, *corev1.Pod, func(corev1.PodStatus)) {},
			"KubeletSilent", "has not acknowledged it within 1m30s", silentTimeout},
		"a kubelet that has just started": {func(_ *testing.T, _ *fake.Clientset, _ *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("CreateContainerConfigError", unread))
			time.AfterFunc(80*time.Second, func() { set(terminated(corev1.PodSucceeded, "Completed", 0)) })
		}, "", "", 81 * time.Second},
		"a kubelet that never reads the Services": {func(_ *testing.T, _ *fake.Clientset, _ *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("CreateContainerConfigError", unread))
		}, "CreateContainerConfigError", unread, silentTimeout},
		"a container that cannot be configured": {func(_ *testing.T, _ *fake.Clientset, _ *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("CreateContainerConfigError", "container has runAsNonRoot"))
		}, "CreateContainerConfigError", "runAsNonRoot", startTimeout},
		"a node that reports nothing": {func(t *testing.T, c *fake.Clientset, _ *corev1.Pod, _ func(corev1.PodStatus)) {
			require.NoError(t, c.Tracker().Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "w1"},
				Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}}}))
		}, "KubeletSilent", "has not acknowledged it within 30s", startTimeout},
		"a volume that cannot be mounted": {func(t *testing.T, c *fake.Clientset, p *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("ContainerCreating", ""))
			require.NoError(t, c.Tracker().Add(event(p, "e1", "Warning", "FailedMount", "hostPath type check failed")))
		}, "FailedMount", "hostPath type check failed", startTimeout},
		"it is deleted": {func(t *testing.T, c *fake.Clientset, p *corev1.Pod, _ func(corev1.PodStatus)) {
			synctest.Wait()
			require.NoError(t, c.CoreV1().Pods(p.Namespace).Delete(t.Context(), p.Name, metav1.DeleteOptions{}))
		}, "Deleted", "it was deleted", time.Second},
		"a slow pull is no failure": {func(t *testing.T, c *fake.Clientset, p *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("ContainerCreating", ""))
			require.NoError(t, c.Tracker().Add(event(p, "e1", "Normal", "Pulling", "Pulling image")))
			time.AfterFunc(100*time.Second, func() { set(terminated(corev1.PodSucceeded, "Completed", 0)) })
		}, "", "", 101 * time.Second},
		"a pull without an end is": {func(t *testing.T, c *fake.Clientset, p *corev1.Pod, set func(corev1.PodStatus)) {
			set(waiting("ContainerCreating", ""))
			require.NoError(t, c.Tracker().Add(event(p, "e1", "Normal", "Pulling", "Pulling image")))
		}, "Pulling", "is still being pulled after 5m0s", pullTimeout + startTimeout},
		"it runs and does not end": {func(_ *testing.T, _ *fake.Clientset, _ *corev1.Pod, set func(corev1.PodStatus)) {
			set(corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
				State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}})
		}, "Stuck", "has not ended within 2m0s", startTimeout + scanDeadline},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				w := watchPods(t.Context(), c, options.Namespace, LabelName+"="+appName)
				defer w.stopWatch()
				p, set := started(t, c)
				tc.happens(t, c, p, set)
				began := time.Now()
				_, err := w.waitUntil(t.Context(), p, hasEnded)
				assert.LessOrEqual(t, time.Since(began), tc.within)
				if tc.want == "" {
					require.NoError(t, err)
					return
				}
				var e *PodError
				require.ErrorAs(t, err, &e)
				assert.Equal(t, tc.want, e.Reason)
				assert.Contains(t, e.Message, tc.words)
				assert.Equal(t, "w1", e.Node)
			})
		})
	}
}
