package manifests

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

// TestNodePodsRunTheImageOfTheAgents of the installation, however that came there.
func TestNodePodsRunTheImageOfTheAgents(t *testing.T) {
	options := base()
	options.EarlierImages = []string{"registry.test/node:0"}
	objects := render(t, options)
	agents := find[*appsv1.DaemonSet](t, objects, Agent, "rotate-certs")
	judged := func(agents *appsv1.DaemonSet, user, image string) []string {
		_, _, pod := pods()
		pod.Spec.Containers[0].Image = image
		policy := find[*admissionv1.ValidatingAdmissionPolicy](t, objects, "rotate-certs-watcher-image", "")
		return judgeWith(t, policy, request(user), asMap(t, pod), nil, object(t, agents))
	}
	assert.Empty(t, judged(agents, watcherUser, "registry.test/node:1"))
	assert.Empty(t, judged(agents, watcherUser, "registry.test/node:0"), "of a watcher that still runs")
	assert.Len(t, judged(agents, watcherUser, "registry.test/shell:1"), 1)
	assert.Empty(t, judged(agents, "jane", "registry.test/shell:1"), "what people may do is not its business")

	mirrored := agents.DeepCopy()
	mirrored.Spec.Template.Spec.Containers[0].Image = "mirror.test/node:1"
	assert.Empty(t, judged(mirrored, watcherUser, "mirror.test/node:1"))
	assert.Len(t, judged(mirrored, watcherUser, "registry.test/node:1"), 1)
	mirrored.Spec.Template.Spec.Containers[0].Name = "injected"
	assert.Len(t, judged(mirrored, watcherUser, "mirror.test/node:1"), 1, "a container that another program added")
}

// TestEveryNodePodIsHeldAgainstTheAgents: the pods that one policy admits are those that
// the other is bound to, and no others are refused where there is no DaemonSet.
func TestEveryNodePodIsHeldAgainstTheAgents(t *testing.T) {
	objects := render(t, base())
	binding := find[*admissionv1.ValidatingAdmissionPolicyBinding](t, objects, "rotate-certs-watcher-image", "")
	assert.Equal(t, &admissionv1.ParamRef{Name: Agent, Namespace: "rotate-certs", ParameterNotFoundAction: new(admissionv1.DenyAction)}, binding.Spec.ParamRef)
	assert.Equal(t, []admissionv1.ValidationAction{admissionv1.Deny}, binding.Spec.ValidationActions)
	assert.Equal(t, map[string]string{corev1.LabelMetadataName: "rotate-certs"}, binding.Spec.MatchResources.NamespaceSelector.MatchLabels)
	selector, err := metav1.LabelSelectorAsSelector(binding.Spec.MatchResources.ObjectSelector)
	require.NoError(t, err)
	scan, journal, rotate := pods()
	for _, pod := range []*corev1.Pod{scan, journal, rotate} {
		assert.True(t, selector.Matches(labels.Set(pod.Labels)), pod.Name)
		assert.Empty(t, judge(t, podPolicy(t), request(watcherUser), asMap(t, pod)), pod.Name)
		for label := range pod.Labels {
			changed := pod.DeepCopy()
			if delete(changed.Labels, label); !selector.Matches(labels.Set(changed.Labels)) {
				assert.NotEmpty(t, judge(t, podPolicy(t), request(watcherUser), asMap(t, changed)), "%s without %s", pod.Name, label)
			}
		}
	}
	elsewhere := request(watcherUser)
	elsewhere["namespace"] = "kube-system"
	assert.NotEmpty(t, judge(t, podPolicy(t), elsewhere, asMap(t, scan)), "where the binding does not reach")
	for _, workload := range []map[string]string{
		find[*appsv1.DaemonSet](t, objects, Agent, "rotate-certs").Spec.Template.Labels,
		find[*appsv1.Deployment](t, objects, Watcher, "rotate-certs").Spec.Template.Labels,
	} {
		assert.False(t, selector.Matches(labels.Set(workload)), workload)
	}
	images, pods := find[*admissionv1.ValidatingAdmissionPolicy](t, objects, "rotate-certs-watcher-image", ""), podPolicy(t)
	assert.Equal(t, pods.Spec.MatchConstraints, images.Spec.MatchConstraints)
	assert.Equal(t, pods.Spec.MatchConditions, images.Spec.MatchConditions)
}

func TestTheWatcherCreatesOnlyItsOwnLeases(t *testing.T) {
	policy := find[*admissionv1.ValidatingAdmissionPolicy](t, render(t, base()), "rotate-certs-watcher-leases", "")
	for name, tt := range map[string]struct {
		namespace, lease string
		admitted         bool
	}{
		"the lock":                  {kube.LeaseNamespace, kube.LeaseName, true},
		"its election":              {"rotate-certs", Watcher, true},
		"a scheduler's":             {kube.LeaseNamespace, "kube-scheduler", false},
		"a kubelet's":               {"kube-node-lease", "cp1", false},
		"the lock, elsewhere":       {"default", kube.LeaseName, false},
		"its election, elsewhere":   {kube.LeaseNamespace, Watcher, false},
		"one without a name so far": {kube.LeaseNamespace, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			metadata := map[string]any{}
			if tt.lease != "" {
				metadata["name"] = tt.lease
			}
			r := request(watcherUser)
			r["namespace"] = tt.namespace
			lease := map[string]any{"metadata": metadata}
			assert.Equal(t, tt.admitted, len(judge(t, policy, r, lease)) == 0)
			r["userInfo"] = map[string]any{"username": "system:serviceaccount:kube-system:other"}
			assert.Empty(t, judge(t, policy, r, lease), "what others may do is not its business")
		})
	}
}
