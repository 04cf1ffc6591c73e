package kube

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	ktesting "k8s.io/client-go/testing"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// kubelets plays the nodes: what becomes of a pod, and what its log says. client-go's
// fake does not distinguish the pods of logs, so a test has one log for all.
type kubelets struct {
	status corev1.PodStatus
	log    string
	logErr error
	refuse func(p *corev1.Pod) error
}

func (k *kubelets) run(t *testing.T, c *fake.Clientset) {
	t.Helper()
	c.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		create, ok := a.(ktesting.CreateAction)
		if !ok || a.GetSubresource() != "" {
			return false, nil, nil
		}
		p := create.GetObject().(*corev1.Pod)
		if k.refuse != nil {
			if err := k.refuse(p); err != nil {
				return true, nil, err
			}
		}
		p.Status = k.status
		return false, nil, nil
	})
	c.PrependReactor("get", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		if a.GetSubresource() != "log" {
			return false, nil, nil
		}
		return true, &runtime.Unknown{Raw: []byte(k.log)}, k.logErr
	})
}

func inventoryOf(t *testing.T, node string) string {
	t.Helper()
	line, err := json.Marshal(inventory.Node{Name: node, ProgramVersion: "v0.1.0", Token: 7})
	require.NoError(t, err)
	return string(line) + "\n"
}

func podsLeft(t *testing.T, c *fake.Clientset) []string {
	t.Helper()
	list, err := c.CoreV1().Pods("").List(context.WithoutCancel(t.Context()), metav1.ListOptions{})
	require.NoError(t, err)
	var names []string
	for _, p := range list.Items {
		names = append(names, p.Name)
	}
	return names
}

func TestScan(t *testing.T) {
	succeeded := terminated(corev1.PodSucceeded, "Completed", 0)
	running := corev1.PodStatus{Phase: corev1.PodRunning, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}
	forbidden := func(message string) func(*corev1.Pod) error {
		return func(p *corev1.Pod) error {
			return apierrors.NewForbidden(corev1.Resource("pods"), p.Name, errors.New(message))
		}
	}
	for name, tc := range map[string]struct {
		kubelets kubelets
		want     []string // of the exclusion's reason; none: an inventory
	}{
		"a node":                            {kubelets{status: succeeded, log: inventoryOf(t, "w1")}, nil},
		"while it still runs":               {kubelets{status: running, log: inventoryOf(t, "w1")}, nil},
		"with words on standard error":      {kubelets{status: succeeded, log: "reading /etc\n" + inventoryOf(t, "w1") + "done\n"}, nil},
		"an inventory of another node":      {kubelets{status: succeeded, log: inventoryOf(t, "cp1")}, []string{`is of node "cp1"`}},
		"two inventories":                   {kubelets{status: succeeded, log: inventoryOf(t, "w1") + inventoryOf(t, "w1")}, []string{"more than one inventory"}},
		"no inventory":                      {kubelets{status: succeeded, log: "hello\n"}, []string{"no inventory"}},
		"half an inventory":                 {kubelets{status: succeeded, log: inventoryOf(t, "w1")[:20] + "\n"}, []string{"cannot be read"}},
		"an endless one":                    {kubelets{status: succeeded, log: "{" + strings.Repeat(" ", maxInventory)}, []string{"larger than"}},
		"a scan that failed, in its words":  {kubelets{status: terminated(corev1.PodFailed, "Error", 1), log: "a\nerror: no kubelet here\n"}, []string{"error: no kubelet here (exit code 1)"}},
		"a kubelet that gives no logs":      {kubelets{status: succeeded, logErr: errors.New("dial tcp 10.0.0.9:10250: i/o timeout")}, []string{"i/o timeout", "can the API server reach this node's kubelet?"}},
		"an image that cannot be pulled":    {kubelets{status: waiting("ImagePullBackOff", "not found")}, []string{"ImagePullBackOff", "--image names another"}},
		"a full node":                       {kubelets{status: corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "x"}}, []string{"OutOfpods", "the node is full"}},
		"a namespace that admits no such":   {kubelets{refuse: forbidden(`violates PodSecurity "baseline:latest": hostPath volumes`)}, []string{"hostPath volumes", "pod-security.kubernetes.io/enforce=privileged"}},
		"a policy engine that refuses":      {kubelets{refuse: forbidden(`admission webhook "validate.kyverno.svc-fail" denied the request: no hostPath`)}, []string{"kyverno", "have the policy admit"}},
		"no permission":                     {kubelets{refuse: forbidden(`User "eve" cannot create resource "pods" in API group "" in the namespace "x"`)}, []string{"cannot create", "ask an administrator"}},
		"an API server that is never there": {kubelets{refuse: func(*corev1.Pod) error { return errors.New("connection refused") }}, []string{"connection refused"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				tc.kubelets.run(t, c)
				began := time.Now()
				found, excluded, err := (&Scanner{Client: c, Pods: options}).Scan(t.Context(), []string{"w1"})
				require.NoError(t, err, "one node's failure is data")
				assert.LessOrEqual(t, time.Since(began), startTimeout+5*time.Second)
				assert.Empty(t, podsLeft(t, c))
				if tc.want == nil {
					require.Len(t, found, 1)
					assert.Empty(t, excluded)
					assert.Equal(t, int64(7), found[0].Token)
					return
				}
				assert.Empty(t, found)
				require.Len(t, excluded, 1)
				assert.Equal(t, "w1", excluded[0].Node)
				for _, words := range tc.want {
					assert.Contains(t, excluded[0].Reason, words)
				}
				assert.NotContains(t, excluded[0].Reason, "\n")
			})
		})
	}
}

// TestJournals reads journals of one rotation, and ones that do not match the request.
func TestJournals(t *testing.T) {
	line := func(node, rotation string, records ...nodeapi.Record) string {
		out, err := json.Marshal(nodeapi.Journal{Node: node, Rotation: rotation, Records: records})
		require.NoError(t, err)
		return string(out) + "\n"
	}
	for name, tc := range map[string]struct {
		log  string
		want string // of the exclusion's reason; empty: a journal
	}{
		"its journal":                {line("w1", "7f3c2a", nodeapi.Record{Seq: 1, Node: "w1", Rotation: "7f3c2a"}), ""},
		"of another node":            {line("cp1", "7f3c2a"), `is of node "cp1"`},
		"of another rotation":        {line("w1", "aaaaaa"), `is of rotation "aaaaaa"`},
		"with a record of another":   {line("w1", "7f3c2a", nodeapi.Record{Seq: 4, Node: "cp1", Rotation: "7f3c2a"}), `record 4 of its journal is of node "cp1"`},
		"with a record of elsewhere": {line("w1", "7f3c2a", nodeapi.Record{Seq: 4, Node: "w1", Rotation: "b"}), `and rotation "b"`},
		"an inventory":               {inventoryOf(t, "w1"), `is of node ""`},
		"nonsense":                   {"{]\n", "its journal cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster(t)
				(&kubelets{status: terminated(corev1.PodSucceeded, "Completed", 0), log: tc.log}).run(t, c)
				var args []string
				c.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
					args = a.(ktesting.CreateAction).GetObject().(*corev1.Pod).Spec.Containers[0].Args
					return false, nil, nil
				})
				found, excluded, err := (&Scanner{Client: c, Pods: options}).Journals(t.Context(), []string{"w1"}, "7f3c2a")
				require.NoError(t, err)
				assert.Equal(t, []string{"journal", "--root=/host", "--node-name=w1", "--rotation=7f3c2a"}, args)
				assert.Empty(t, podsLeft(t, c))
				if tc.want == "" {
					require.Len(t, found, 1)
					assert.Len(t, found[0].Records, 1)
					return
				}
				require.Len(t, excluded, 1)
				assert.Contains(t, excluded[0].Reason, tc.want)
			})
		})
	}
}

// TestJournalPodIsAScanPod: reading a journal needs no more than a scan does.
func TestJournalPodIsAScanPod(t *testing.T) {
	scan, read := ScanPod("w1", "x", options), JournalPod("w1", "x", "7f3c2a", options)
	scan.Spec.Containers[0].Args = read.Spec.Containers[0].Args
	assert.Equal(t, scan, read)
}

func TestOneFailingNodeDoesNotAbortAScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		k := kubelets{status: terminated(corev1.PodSucceeded, "Completed", 0), log: inventoryOf(t, "w2"), refuse: func(p *corev1.Pod) error {
			if p.Spec.NodeName != "w2" {
				return apierrors.NewForbidden(corev1.Resource("pods"), p.Name, errors.New("no"))
			}
			return nil
		}}
		k.run(t, c)
		found, excluded, err := (&Scanner{Client: c}).Scan(t.Context(), []string{"w1", "w2", "w3"})
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Equal(t, "w2", found[0].Name)
		require.Len(t, excluded, 2)
		assert.Equal(t, "w1", excluded[0].Node)
		assert.Equal(t, "w3", excluded[1].Node)
	})
}

func TestScanIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var mu sync.Mutex
		now, most := 0, 0
		c.PrependReactor("create", "pods", func(ktesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			now++
			most = max(most, now)
			return false, nil, nil
		})
		c.PrependReactor("delete", "pods", func(ktesting.Action) (bool, runtime.Object, error) {
			mu.Lock()
			defer mu.Unlock()
			now--
			return false, nil, nil
		})
		_, excluded, err := (&Scanner{Client: c, Parallel: 3}).Scan(t.Context(), []string{"a", "b", "c", "d", "e", "f", "g"})
		require.NoError(t, err)
		assert.Len(t, excluded, 7, "no kubelet answers here")
		assert.Equal(t, 3, most)
		assert.Zero(t, now)
	})
}

func TestInterruptedScanLeavesNoPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(5*time.Second, cancel)
		_, _, err := (&Scanner{Client: strict{c}}).Scan(ctx, []string{"a", "b"})
		require.ErrorIs(t, err, context.Canceled)
		assert.Empty(t, podsLeft(t, c))
	})
}

// strict is a cluster that, unlike client-go's fake, deletes nothing for a caller
// whose ctx has ended.
type strict struct{ kubernetes.Interface }

func (s strict) CoreV1() typedcorev1.CoreV1Interface { return strictCore{s.Interface.CoreV1()} }

type strictCore struct{ typedcorev1.CoreV1Interface }

func (s strictCore) Pods(namespace string) typedcorev1.PodInterface {
	return strictPods{s.CoreV1Interface.Pods(namespace)}
}

type strictPods struct{ typedcorev1.PodInterface }

func (s strictPods) Delete(ctx context.Context, name string, o metav1.DeleteOptions) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.PodInterface.Delete(ctx, name, o)
}

func TestTransient(t *testing.T) {
	pods := schema.GroupResource{Resource: "pods"}
	for want, errs := range map[bool][]error{
		true: {
			errors.New("connection refused"), apierrors.NewServiceUnavailable("x"), apierrors.NewTooManyRequests("x", 1),
			apierrors.NewServerTimeout(pods, "get", 1), apierrors.NewTimeoutError("x", 1), apierrors.NewInternalError(errors.New("etcdserver: leader changed")),
		},
		false: {
			context.Canceled, context.DeadlineExceeded, apierrors.NewNotFound(pods, "x"), apierrors.NewForbidden(pods, "x", nil),
			apierrors.NewBadRequest("x"), apierrors.NewInternalError(errors.New(`failed calling webhook "x": connection refused`)),
		},
	} {
		for _, err := range errs {
			assert.Equal(t, want, isTransient(err), "%v", err)
		}
	}
}
