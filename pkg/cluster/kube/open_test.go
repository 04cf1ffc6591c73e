package kube

import (
	"context"
	"encoding/json"
	"errors"
	"io"
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

	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func hangs(ctx context.Context, _, _ string, _ session.Command) error {
	<-ctx.Done()
	return ctx.Err()
}

var runningStatus = corev1.PodStatus{Phase: corev1.PodRunning, StartTime: &metav1.Time{}, ContainerStatuses: []corev1.ContainerStatus{{
	State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}

// openNodes are Nodes on a cluster whose pods become what status says.
func openNodes(t *testing.T, status corev1.PodStatus) (*Nodes, *fake.Clientset) {
	t.Helper()
	c := newCluster(t)
	(&kubelets{status: status}).run(t, c)
	n := &Nodes{Client: c, Pods: options, run: hangs}
	t.Cleanup(func() {
		for _, w := range n.watches {
			w.stopWatch()
		}
	})
	return n, c
}

func uidOf(t *testing.T, c *fake.Clientset, name string) string {
	t.Helper()
	p, err := c.CoreV1().Pods(options.Namespace).Get(t.Context(), name, metav1.GetOptions{})
	require.NoError(t, err)
	return string(p.UID)
}

func TestOpenTakesOverThePodOfTheSameStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := openNodes(t, runningStatus)
		name := podName(componentRotation, "cp1", "7f3c2a")
		_, err := n.Open(t.Context(), "7f3c2a", step("cp1", "/etc/kubernetes"))
		require.NoError(t, err)
		first := uidOf(t, c, name)

		_, err = n.Open(t.Context(), "7f3c2a", step("cp1", "/etc/kubernetes"))
		require.NoError(t, err)
		assert.Equal(t, first, uidOf(t, c, name), "its process continues")

		_, err = n.Open(t.Context(), "7f3c2a", step("cp1", "/etc/kubernetes", "/srv/pki"))
		require.NoError(t, err)
		assert.NotEqual(t, first, uidOf(t, c, name), "it could not write the other directory")
		assert.Len(t, podsLeft(t, c), 1)
	})
}

func TestOpenReplacesAPodThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := openNodes(t, runningStatus)
		old := n.rotationPod(step("cp1"), "7f3c2a")
		old.UID, old.Status = "old", terminated(corev1.PodSucceeded, "Completed", 0)
		require.NoError(t, c.Tracker().Add(old))
		_, err := n.Open(t.Context(), "7f3c2a", step("cp1"))
		require.NoError(t, err)
		assert.NotEqual(t, "old", uidOf(t, c, old.Name))
	})
}

func TestOpenReportsWhyAPodDoesNotRun(t *testing.T) {
	for name, tc := range map[string]struct {
		status corev1.PodStatus
		want   string
	}{
		"its image":             {waiting("ImagePullBackOff", "not found"), "ImagePullBackOff"},
		"its program ended":     {terminated(corev1.PodFailed, "Error", 2), "exit code 2"},
		"its kubelet is silent": {corev1.PodStatus{Phase: corev1.PodPending}, "KubeletSilent"},
		"it crashes for ever ":  {waiting("CrashLoopBackOff", ""), "CrashLoopBackOff"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, _ := openNodes(t, tc.status)
				began := time.Now()
				_, err := n.Open(t.Context(), "7f3c2a", step("cp1"))
				var e *PodError
				require.ErrorAs(t, err, &e)
				require.ErrorContains(t, err, tc.want)
				assert.Equal(t, "cp1", e.Node)
				assert.LessOrEqual(t, time.Since(began), silentTimeout)
			})
		})
	}
}

func TestDryRun(t *testing.T) {
	c := newCluster(t)
	var dry [][]string
	c.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		dry = append(dry, a.(ktesting.CreateActionImpl).CreateOptions.DryRun)
		p := a.(ktesting.CreateAction).GetObject().(*corev1.Pod)
		if p.Spec.NodeName == "ok" {
			return true, p, nil
		}
		if p.Spec.NodeName == "other" {
			return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), p.Name, errors.New("exceeded quota: pods"))
		}
		return true, nil, apierrors.NewForbidden(corev1.Resource("pods"), p.Name, errors.New(`violates PodSecurity "restricted:latest"`))
	})
	n := &Nodes{Client: c, Pods: options}
	require.NoError(t, n.DryRun(t.Context(), "7f3c2a", []plan.Step{step("ok")}))

	err := n.DryRun(t.Context(), "7f3c2a", []plan.Step{step("cp1"), step("ok"), step("cp2"), step("other")})
	require.ErrorContains(t, err, "cp1: pod")
	require.Contains(t, hint.TextOf(err), "enforce=privileged")
	require.ErrorContains(t, err, "exceeded quota")
	require.NotContains(t, err.Error(), "cp2: pod", "the same refusal is reported once")
	assert.Len(t, dry, 5, "every pod was sent")
	for _, d := range dry {
		assert.Equal(t, []string{"All"}, d)
	}
}

func TestClose(t *testing.T) {
	pods := func() []runtime.Object {
		aged := func(p *corev1.Pod, namespace string, age time.Duration) *corev1.Pod {
			p.Namespace, p.CreationTimestamp = namespace, metav1.NewTime(time.Now().Add(-age))
			p.Name += "-" + namespace
			return p
		}
		foreign := aged(ScanPod("w1", "s", options), "kube-system", time.Hour)
		foreign.Name, foreign.Labels = "of-another-program", map[string]string{LabelName: "other"}
		scanning := aged(ScanPod("w1", "running", options), "maintenance", time.Second)
		// The watcher's own pod would not survive its own rotation.
		watcher := aged(ScanPod("w1", "s", options), "maintenance", time.Hour)
		watcher.Name, watcher.Labels = "rotate-certs-watcher-x7k2p", map[string]string{LabelName: appName, LabelManagedBy: appName, LabelComponent: "watcher"}
		return []runtime.Object{
			watcher,
			aged(RotatePod(step("w1"), "mine", options), "maintenance", time.Minute),
			aged(RotatePod(step("w1"), "orphan", options), "maintenance", time.Minute),
			aged(RotatePod(step("w2"), "orphan", options), "elsewhere", time.Minute),
			scanning,
			aged(ScanPod("w1", "forgotten", options), "maintenance", time.Hour),
			foreign,
		}
	}
	for name, tc := range map[string]struct {
		rotation string
		narrow   bool // the caller may not list pods everywhere
		want     int
		left     int
	}{
		"of one rotation":                       {"mine", false, 1, 6},
		"of every rotation, everywhere":         {"", false, 3, 3},
		"of every rotation, in this namespace":  {"", true, 2, 4},
		"of a rotation that has none any more ": {"finished", false, 0, 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t, pods()...)
				c.PrependReactor("list", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
					return tc.narrow && a.GetNamespace() == "" && len(a.(ktesting.ListAction).GetListRestrictions().Labels.String()) > 0,
						nil, apierrors.NewForbidden(corev1.Resource("pods"), "", errors.New("not everywhere"))
				})
				n := &Nodes{Client: c, Pods: options}
				count, err := n.Close(t.Context(), tc.rotation)
				require.NoError(t, err)
				assert.Equal(t, tc.want, count)
				left := podsLeft(t, c)
				assert.Len(t, left, tc.left)
				assert.Contains(t, left, "of-another-program")
			})
		})
	}
}

func TestCloseWaitsUntilThePodsAreDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, c := openNodes(t, runningStatus)
		_, err := n.Open(t.Context(), "7f3c2a", step("cp1"))
		require.NoError(t, err)
		name := podName(componentRotation, "cp1", "7f3c2a")
		c.PrependReactor("delete", "pods", func(ktesting.Action) (bool, runtime.Object, error) {
			// It finishes what it does first.
			time.AfterFunc(40*time.Second, func() {
				_ = c.Tracker().Delete(corev1.SchemeGroupVersion.WithResource("pods"), options.Namespace, name)
			})
			return true, nil, nil
		})
		began := time.Now()
		var reported []string
		n.Waiting = func(node, what string) { reported = append(reported, node+": "+what) }
		count, err := n.Close(t.Context(), "7f3c2a")
		require.NoError(t, err)
		assert.Equal(t, 1, count)
		assert.GreaterOrEqual(t, time.Since(began), 40*time.Second)
		assert.Equal(t, []string{"cp1: the process of an earlier order finishes or rolls back; waiting for its end, 5m0s at most"}, reported)
	})
}

// A process that has said its last word needs no time to end, and any other all of it.
func TestOnlyARunningProcessHasAGracePeriod(t *testing.T) {
	for name, tc := range map[string]struct {
		said   nodeapi.Kind
		token  int64
		ending int64 // the token of the order to end
		want   *int64
	}{
		"it has committed":               {nodeapi.Committed, 5, 5, nil},
		"it has finished":                {nodeapi.Finished, 5, 5, new(int64)},
		"it has left off":                {nodeapi.Abandoned, 5, 5, new(int64)},
		"the one before it has left off": {nodeapi.Abandoned, 4, 5, nil},
		"it was not ordered to end":      {nodeapi.Abandoned, 5, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := openNodes(t, runningStatus)
				line, err := json.Marshal(nodeapi.Record{Seq: 1, Node: "cp1", Rotation: "7f3c2a", Kind: tc.said, Token: tc.token})
				require.NoError(t, err)
				n.run = func(_ context.Context, _, _ string, c session.Command) error {
					answer := string(line)
					if c.Stdin != nil {
						answer = `{"accepted":true}`
					}
					_, err := io.WriteString(c.Stdout, answer+"\n")
					return err
				}
				s, err := n.Open(t.Context(), "7f3c2a", step("cp1"))
				require.NoError(t, err)
				if tc.ending > 0 {
					require.NoError(t, s.Order(t.Context(), nodeapi.Order{Kind: nodeapi.OrderAbandon, Rotation: "7f3c2a", Token: tc.ending}))
				}
				seen := errors.New("seen")
				require.Equal(t, seen, s.Follow(t.Context(), 0, func(nodeapi.Record) error { return seen }))
				var grace *int64
				c.PrependReactor("delete", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
					grace = a.(ktesting.DeleteAction).GetDeleteOptions().GracePeriodSeconds
					return false, nil, nil
				})
				_, err = n.Close(t.Context(), "7f3c2a")
				require.NoError(t, err)
				assert.Equal(t, tc.want, grace)
			})
		})
	}
}

// A node that reports nothing reports no end either, so that is not waited for. A
// control-plane node whose process may still work keeps everything else from beginning.
func TestNotReadyNodesAreNotWaitedFor(t *testing.T) {
	for name, tc := range map[string]struct {
		labels map[string]string
		ready  corev1.ConditionStatus
		says   string
		atMost time.Duration
	}{
		"a NotReady worker":                   {nil, corev1.ConditionUnknown, "", time.Second},
		"a NotReady control-plane node":       {map[string]string{"node-role.kubernetes.io/control-plane": ""}, corev1.ConditionUnknown, "the node is NotReady", time.Second},
		"a node that reports, but no end":     {nil, corev1.ConditionTrue, "has not reported its end", rotationGrace + 31*time.Second},
		"a control-plane node that does both": {map[string]string{"node-role.kubernetes.io/control-plane": ""}, corev1.ConditionTrue, "has not reported its end", rotationGrace + 31*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n, c := openNodes(t, runningStatus)
				_, err := n.Open(t.Context(), "7f3c2a", step("cp1"))
				require.NoError(t, err)
				require.NoError(t, c.Tracker().Add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp1", Labels: tc.labels},
					Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: tc.ready}}}}))
				c.PrependReactor("delete", "pods", func(ktesting.Action) (bool, runtime.Object, error) { return true, nil, nil })
				began := time.Now()
				_, err = n.Close(t.Context(), "")
				assert.LessOrEqual(t, time.Since(began), tc.atMost)
				if tc.says == "" {
					require.NoError(t, err)
				} else {
					require.ErrorContains(t, err, tc.says)
				}
				if w := n.watches["7f3c2a"]; w != nil {
					w.stopWatch()
				}
			})
		})
	}
}
