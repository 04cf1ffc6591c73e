package kube

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// onlyIn allows deleting pods in one namespace, as the watcher's roles do.
func onlyIn(c *fake.Clientset, namespace string) {
	c.PrependReactor("delete", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		return a.GetNamespace() != namespace, nil, apierrors.NewForbidden(corev1.Resource("pods"),
			a.(ktesting.DeleteAction).GetName(), errors.New(`cannot delete resource "pods" in the namespace "`+a.GetNamespace()+`"`))
	})
}

// left is a pod that is left in another namespace an hour ago.
func left(p *corev1.Pod, phase corev1.PodPhase) *corev1.Pod {
	p.Namespace, p.UID, p.Status.Phase = "kube-system", "left", phase
	p.CreationTimestamp = metav1.NewTime(time.Now().Add(-time.Hour))
	return p
}

// working gives a pod a container that has not ended.
func working(p *corev1.Pod) *corev1.Pod {
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}
	return p
}

func TestPodsThatMayNotBeDeleted(t *testing.T) {
	scan := func() *corev1.Pod { return ScanPod("w1", "left", options) }
	rotation := func() *corev1.Pod { return RotatePod(step("w1"), "left", options) }
	for name, tc := range map[string]struct {
		pod     *corev1.Pod
		phase   corev1.PodPhase
		refused bool
	}{
		"a scan that has ended":                                      {scan(), corev1.PodSucceeded, false},
		"a scan that has failed":                                     {scan(), corev1.PodFailed, false},
		"a scan that hangs":                                          {scan(), corev1.PodRunning, false}, // it changes nothing
		"a rotation that has ended":                                  {rotation(), corev1.PodSucceeded, false},
		"a rotation that has failed":                                 {rotation(), corev1.PodFailed, false},
		"a rotation that runs":                                       {rotation(), corev1.PodRunning, true},
		"a rotation that may yet start":                              {rotation(), corev1.PodPending, true},
		"a rotation of unknown state":                                {rotation(), corev1.PodUnknown, true},
		"a rotation whose time is up, and whose process still works": {working(rotation()), corev1.PodFailed, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, left(tc.pod, tc.phase))
				onlyIn(c, options.Namespace)
				n := &Nodes{Client: c, Pods: options}
				count, err := n.Close(t.Context(), "")
				if !tc.refused {
					require.NoError(t, err)
					assert.Zero(t, count, "nothing has changed")
					return
				}
				assert.ErrorContains(t, err, "held by another")
				assert.Contains(t, hint.TextOf(err), "kubectl -n kube-system delete pod "+tc.pod.Name)
			})
		})
	}
}

// A pod that ends between the list and the refusal is not there either.
func TestPodThatHasEndedMeanwhileIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := left(RotatePod(step("w1"), "left", options), corev1.PodRunning)
		c := newCluster(t, pod)
		c.PrependReactor("delete", "pods", func(ktesting.Action) (bool, runtime.Object, error) {
			ended := pod.DeepCopy()
			ended.Status.Phase = corev1.PodSucceeded
			require.NoError(t, c.Tracker().Update(corev1.SchemeGroupVersion.WithResource("pods"), ended, ended.Namespace))
			return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), pod.Name, errors.New("no"))
		})
		n := &Nodes{Client: c, Pods: options}
		_, err := n.Close(t.Context(), "")
		require.NoError(t, err)
	})
}

// What keeps our own pods from being deleted is an error as before.
func TestForbiddenDeletionInTheOwnNamespaceIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pod := left(RotatePod(step("w1"), "left", options), corev1.PodRunning)
		pod.Namespace = options.Namespace
		c := newCluster(t, pod)
		onlyIn(c, "elsewhere")
		n := &Nodes{Client: c, Pods: options}
		_, err := n.Close(t.Context(), "")
		assert.True(t, apierrors.IsForbidden(err), "%v", err)
	})
}

// A scan removes the ended pods of earlier scans: nothing in Kubernetes removes a pod that
// has ended.
func TestScanRemovesEndedScans(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old := func(name string, p *corev1.Pod, phase corev1.PodPhase, age time.Duration) *corev1.Pod {
			p.Name, p.Status.Phase, p.CreationTimestamp = name, phase, metav1.NewTime(time.Now().Add(-age))
			return p
		}
		c := newCluster(t,
			old("ended", ScanPod("w1", "a", options), corev1.PodSucceeded, time.Hour),
			old("failed", ScanPod("w1", "b", options), corev1.PodFailed, time.Hour),
			old("awaited", ScanPod("w1", "c", options), corev1.PodSucceeded, time.Second),
			old("running", ScanPod("w1", "d", options), corev1.PodRunning, time.Hour),
			old("rotation", RotatePod(step("w1"), "e", options), corev1.PodSucceeded, time.Hour))
		(&kubelets{status: terminated(corev1.PodSucceeded, "Completed", 0), log: inventoryOf(t, "cp1")}).run(t, c)
		s := &Scanner{Client: c, Pods: options}
		_, _, err := s.Scan(context.WithoutCancel(t.Context()), []string{"cp1"})
		require.NoError(t, err)
		assert.ElementsMatch(t, []string{"awaited", "running", "rotation"}, podsLeft(t, c))
	})
}
