package kube

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	ktesting "k8s.io/client-go/testing"
)

// newCluster is client-go's fake API with what it lacks and this package relies on:
// pods get a UID and a creation time, Leases compare-and-set by resource version.
func newCluster(t *testing.T, objects ...runtime.Object) *fake.Clientset {
	t.Helper()
	c := fake.NewClientset(objects...)
	var serial atomic.Int64
	c.PrependReactor("create", "pods", func(a ktesting.Action) (bool, runtime.Object, error) {
		create, ok := a.(ktesting.CreateAction)
		if !ok || a.GetSubresource() != "" {
			return false, nil, nil
		}
		pod := create.GetObject().(*corev1.Pod)
		if pod.UID == "" {
			pod.UID = types.UID(fmt.Sprintf("uid-%d", serial.Add(1)))
		}
		return false, nil, nil
	})
	leases := coordinationv1.Resource("leases")
	compare := func(a ktesting.Action) (bool, runtime.Object, error) {
		var lease *coordinationv1.Lease
		if update, ok := a.(ktesting.UpdateAction); ok && a.GetVerb() == "update" {
			lease = update.GetObject().(*coordinationv1.Lease)
			there, err := c.Tracker().Get(a.GetResource(), lease.Namespace, lease.Name)
			if err != nil {
				return true, nil, err
			}
			if there.(*coordinationv1.Lease).ResourceVersion != lease.ResourceVersion {
				return true, nil, apierrors.NewConflict(leases, lease.Name, fmt.Errorf("it was changed"))
			}
		} else if create, ok := a.(ktesting.CreateAction); ok && a.GetVerb() == "create" {
			lease = create.GetObject().(*coordinationv1.Lease)
		}
		if lease != nil {
			lease.ResourceVersion = strconv.FormatInt(serial.Add(1), 10)
		}
		return false, nil, nil
	}
	c.PrependReactor("create", "leases", compare)
	c.PrependReactor("update", "leases", compare)
	return c
}

// node is a Ready linux/amd64 node, changed by what is given.
func node(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}},
		Status: corev1.NodeStatus{
			NodeInfo:   corev1.NodeSystemInfo{OperatingSystem: "linux", Architecture: "amd64"},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: name}},
		},
	}
	for _, f := range change {
		f(n)
	}
	return n
}
