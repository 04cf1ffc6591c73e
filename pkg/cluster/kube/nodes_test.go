package kube

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func TestExcluded(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*corev1.Node)
		want   string // empty: not excluded
	}{
		"a ready node": {func(*corev1.Node) {}, ""},
		"arm64":        {func(n *corev1.Node) { n.Status.NodeInfo.Architecture = "arm64" }, ""},
		"cordoned":     {func(n *corev1.Node) { n.Spec.Unschedulable = true }, ""},
		"NotReady": {func(n *corev1.Node) {
			n.Status.Conditions[0] = corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionUnknown,
				LastTransitionTime: metav1.NewTime(noon.Add(-14 * time.Minute))}
		}, "NotReady for 14m"},
		"one that never reported": {func(n *corev1.Node) { n.Status.Conditions = nil }, "NotReady"},
		"windows":                 {func(n *corev1.Node) { n.Status.NodeInfo.OperatingSystem = "windows" }, "windows/amd64 has no node program"},
		"windows, by its label, that never reported": {func(n *corev1.Node) {
			n.Status = corev1.NodeStatus{}
			n.Labels = map[string]string{corev1.LabelOSStable: "windows", corev1.LabelArchStable: "amd64"}
		}, "windows/amd64 has no node program"},
		"s390x":                       {func(n *corev1.Node) { n.Status.NodeInfo.Architecture = "s390x" }, "linux/s390x has no node program"},
		"a virtual kubelet, by label": {func(n *corev1.Node) { n.Labels["type"] = "virtual-kubelet" }, "a virtual node: there is no machine behind it"},
		"a virtual kubelet, by taint": {func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "virtual-kubelet.io/provider", Value: "azure"}}
		}, "a virtual node: there is no machine behind it"},
	} {
		t.Run(name, func(t *testing.T) {
			nodes, err := ListNodes(t.Context(), newCluster(t, node("w1", tc.change)))
			require.NoError(t, err)
			reason, excluded := nodes[0].Excluded(noon)
			assert.Equal(t, tc.want, reason)
			assert.Equal(t, tc.want != "", excluded)
		})
	}
}

func TestPartition(t *testing.T) {
	nodes, err := ListNodes(t.Context(), newCluster(t, node("b"), node("a"), node("win", func(n *corev1.Node) {
		n.Status.NodeInfo.OperatingSystem = "windows"
	})))
	require.NoError(t, err)
	names, excluded := kubenode.Partition(nodes, noon)
	assert.Equal(t, []string{"a", "b"}, names)
	require.Len(t, excluded, 1)
	assert.Equal(t, "win", excluded[0].Node)
	assert.Equal(t, "windows/amd64 has no node program", excluded[0].Reason)
}

func TestSelectNodes(t *testing.T) {
	all := []kubenode.Node{{Name: "cp1"}, {Name: "worker-1.example.com"}}
	for name, tc := range map[string]struct {
		asked   []string
		want    []string
		nearest string // of the error
		unknown string
	}{
		"none means all":       {asked: nil, want: []string{"cp1", "worker-1.example.com"}},
		"one":                  {asked: []string{"cp1"}, want: []string{"cp1"}},
		"a slip":               {asked: []string{"pc1"}, unknown: "pc1", nearest: "cp1"},
		"without its domain":   {asked: []string{"cp1", "worker-1"}, unknown: "worker-1", nearest: "worker-1.example.com"},
		"nothing that is near": {asked: []string{"database"}, unknown: "database"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := kubenode.Select(all, tc.asked)
			if tc.unknown != "" {
				var unknown *kubenode.UnknownError
				require.ErrorAs(t, err, &unknown)
				assert.Equal(t, tc.unknown, unknown.Name)
				assert.Equal(t, tc.nearest, unknown.Nearest)
				assert.Contains(t, err.Error(), "nodes: cp1, worker-1.example.com")
				return
			}
			require.NoError(t, err)
			var names []string
			for _, n := range got {
				names = append(names, n.Name)
			}
			assert.Equal(t, tc.want, names)
		})
	}
}

func TestManagedControlPlane(t *testing.T) {
	managed := func(n *corev1.Node) { n.Labels["eks.amazonaws.com/nodegroup"] = "ng-1" }
	nodes, err := ListNodes(t.Context(), newCluster(t, node("ip-10-0-0-1", managed)))
	require.NoError(t, err)
	assert.Equal(t, "EKS", kubenode.ManagedControlPlane(nodes))
	assert.Empty(t, kubenode.ManagedControlPlane([]kubenode.Node{{Name: "w1"}}))
}

func TestNodesOfClusterAPIAreKnownByTheirAnnotations(t *testing.T) {
	node := func(annotations map[string]string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "cp1", Annotations: annotations}}
	}
	assert.Equal(t, "prod", kubenode.Describe(node(map[string]string{"cluster.x-k8s.io/cluster-name": "prod", "cluster.x-k8s.io/machine": "m"})).ClusterAPI)
	assert.Equal(t, "unknown", kubenode.Describe(node(map[string]string{"cluster.x-k8s.io/machine": "m"})).ClusterAPI)
	assert.Empty(t, kubenode.Describe(node(map[string]string{"kubeadm.alpha.kubernetes.io/cri-socket": "x"})).ClusterAPI)
}
