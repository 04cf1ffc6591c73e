package manifests

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
)

// TestNothingIsCreatedOnANode: the kubelet creates what is DirectoryOrCreate, and the
// container runtime whatever is missing of a hostPath without a type.
func TestNothingIsCreatedOnANode(t *testing.T) {
	for name, options := range variants() {
		pod := find[*appsv1.DaemonSet](t, render(t, options), Agent, options.Namespace).Spec.Template.Spec
		shown := slices.Clone(AgentDirectories)
		if name == "agents" {
			shown = append(shown, "/srv", "/data/kubelet")
		}
		for _, v := range pod.Volumes {
			if v.HostPath == nil {
				continue
			}
			require.NotNil(t, v.HostPath.Type, "%s: %s", name, v.Name)
			assert.Equal(t, corev1.HostPathDirectory, *v.HostPath.Type, "%s: %s", name, v.Name)
			assert.Contains(t, shown, v.HostPath.Path, name)
			shown = slices.DeleteFunc(shown, func(dir string) bool { return dir == v.HostPath.Path })
		}
		assert.Empty(t, shown, name)
	}
}

func TestAgentsAreShownWhatIsAskedFor(t *testing.T) {
	mounts := func(s Settings) map[string]corev1.VolumeMount {
		o := base()
		o.AgentDirectories, o.KubeletRootDir = s.AgentDirectories, s.KubeletRootDir
		out := map[string]corev1.VolumeMount{}
		for _, m := range find[*appsv1.DaemonSet](t, render(t, o), Agent, o.Namespace).Spec.Template.Spec.Containers[0].VolumeMounts {
			out[m.MountPath] = m
		}
		return out
	}
	has := mounts(Settings{AgentDirectories: []string{"/srv", "/opt/k8s"}})
	for _, dir := range []string{"/host/srv", "/host/opt/k8s"} {
		assert.Equal(t, corev1.RecursiveReadOnlyIfPossible, *has[dir].RecursiveReadOnly, dir)
		assert.True(t, has[dir].ReadOnly, dir)
	}
	assert.Equal(t, "nothing", has["/host/var/lib/kubelet/pods"].Name)

	for _, root := range []string{"", "/data/kubelet"} {
		settings := Settings{KubeletRootDir: root}
		for _, dir := range settings.HiddenDirectories() {
			assert.Equal(t, "nothing", mounts(settings)["/host"+dir].Name, dir)
		}
	}

	for root, below := range map[string]string{"/data/kubelet": "/host/data/kubelet", "/srv/kubelet": "/host/srv", "/var/lib/k0s/kubelet": "/host/var/lib"} {
		has = mounts(Settings{AgentDirectories: []string{"/srv"}, KubeletRootDir: root})
		assert.Equal(t, "nothing", has["/host"+root+"/pods"].Name, root)
		assert.NotContains(t, has, "/host/var/lib/kubelet/pods", root)
		require.NotNil(t, has[below].MountPropagation, "%s: volumes of pods have to be let go", root)
		assert.Equal(t, corev1.MountPropagationHostToContainer, *has[below].MountPropagation, root)
		assert.Nil(t, has[below].RecursiveReadOnly, "%s: the API server refuses both", root)
		assert.True(t, has[below].ReadOnly, root)
	}
}

func TestPodsGoWhereTheImageRuns(t *testing.T) {
	objects := render(t, variants()["external"])
	agents := find[*appsv1.DaemonSet](t, objects, Agent, "rotate-certs").Spec.Template.Spec
	watcher := find[*appsv1.Deployment](t, objects, Watcher, "rotate-certs").Spec.Template.Spec
	node := func(os, arch, kind string) *corev1.Node {
		set := map[string]string{corev1.LabelOSStable: os, corev1.LabelArchStable: arch}
		if kind != "" {
			set["type"] = kind
		}
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: set}}
	}
	for name, tt := range map[string]struct {
		node  *corev1.Node
		match bool
	}{
		"amd64":   {node("linux", "amd64", ""), true},
		"arm64":   {node("linux", "arm64", "storage"), true},
		"windows": {node("windows", "amd64", ""), false},
		"power":   {node("linux", "ppc64le", ""), false},
		"virtual": {node("linux", "amd64", "virtual-kubelet"), false},
	} {
		for _, pod := range []corev1.PodSpec{agents, watcher} {
			terms := pod.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms
			require.Len(t, terms, 1)
			match := true
			for _, e := range terms[0].MatchExpressions {
				operator := map[corev1.NodeSelectorOperator]selection.Operator{corev1.NodeSelectorOpIn: selection.In, corev1.NodeSelectorOpNotIn: selection.NotIn}[e.Operator]
				requirement, err := labels.NewRequirement(e.Key, operator, e.Values)
				require.NoError(t, err)
				match = match && requirement.Matches(labels.Set(tt.node.Labels))
			}
			assert.Equal(t, tt.match, match, name)
		}
		assert.Equal(t, !tt.match, kubenode.Describe(tt.node).Foreign(), "%s: what cannot be is not waited for", name)
	}
}

func TestAgentsAreProbedForTheirReports(t *testing.T) {
	pod := find[*appsv1.DaemonSet](t, render(t, base()), Agent, "rotate-certs").Spec.Template.Spec
	c := pod.Containers[0]
	const flag = "--health-file=/run/rotate-certs-agent/health"
	assert.Contains(t, c.Args, flag)
	for what, probe := range map[string]*corev1.Probe{"ready": c.ReadinessProbe, "alive": c.LivenessProbe} {
		require.NotNil(t, probe, what)
		assert.Equal(t, []string{c.Command[0], "probe", what, flag}, probe.Exec.Command)
		assert.Greater(t, probe.TimeoutSeconds, int32(1), "to start a program may take longer on a busy node")
	}
	assert.Equal(t, c.ReadinessProbe.Exec, c.StartupProbe.Exec)
	for _, m := range c.VolumeMounts {
		if m.ReadOnly {
			continue
		}
		assert.Equal(t, "/run/rotate-certs-agent", m.MountPath, "nothing else may be written")
		v := pod.Volumes[slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })]
		assert.Equal(t, corev1.StorageMediumMemory, v.EmptyDir.Medium, "and that is no file of the node")
	}
}

// TestSettingsAreRenderedAsTexts: YAML reads 010 as a number and "a: b" as a map.
func TestSettingsAreRenderedAsTexts(t *testing.T) {
	o := base()
	o.Pods.Labels = map[string]string{"010": "1e3", "null": "true"}
	o.NATSURLs = []string{"tls://a: b"}
	o.ClusterName = "x: y"
	for _, object := range render(t, o) {
		if object.GetKind() == "CustomResourceDefinition" {
			continue
		}
		assert.Equal(t, "1e3", object.GetLabels()["010"], object.GetName())
		assert.Equal(t, "true", object.GetLabels()["null"], object.GetName())
		if object.GetKind() == "Deployment" {
			containers, _, err := unstructured.NestedSlice(object.Object, "spec", "template", "spec", "containers")
			require.NoError(t, err)
			arguments := containers[0].(map[string]any)["args"]
			assert.Contains(t, arguments, "--nats-url=tls://a: b")
			assert.Contains(t, arguments, "--cluster=x: y")
		}
	}
}
