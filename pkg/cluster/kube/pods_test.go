package kube

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file that reviewers can read: what a node pod may do is the
// most dangerous thing in this program, and no change of it goes unseen.
func golden(t *testing.T, file string, pod *corev1.Pod) {
	t.Helper()
	pod = pod.DeepCopy()
	pod.Labels[LabelVersion] = "VERSION"
	got, err := yaml.Marshal(pod)
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o600))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), "go test ./pkg/cluster/kube -run Pod -update, and read the difference")
}

var options = PodOptions{Namespace: "maintenance", Image: "registry.test/node:1", ImagePullSecrets: []string{"pull"}}

func step(node string, dirs ...string) plan.Step {
	return plan.Step{Node: node, ControlPlane: true, Directories: dirs}
}

func TestScanPod(t *testing.T) {
	golden(t, "testdata/scan-pod.yaml", ScanPod("w1.example.com", "7f3c2a", options))
}

func TestRotatePod(t *testing.T) {
	s := step("cp1", "/etc/kubernetes/pki/etcd", "/etc/kubernetes", "/etc/kubernetes/pki", "/var/lib/kubelet/pki")
	s.DBusSocket = "/run/dbus/system_bus_socket"
	golden(t, "testdata/rotate-pod.yaml", RotatePod(s, "7f3c2a", options))
}

func TestPodsOfBothKindsAreConfined(t *testing.T) {
	for name, pod := range map[string]*corev1.Pod{
		"scan":   ScanPod("w1", "7f3c2a", PodOptions{}),
		"rotate": RotatePod(step("w1", "/etc/kubernetes"), "7f3c2a", PodOptions{}),
	} {
		t.Run(name, func(t *testing.T) {
			c := pod.Spec.Containers[0]
			assert.Len(t, pod.Spec.Containers, 1)
			assert.False(t, *pod.Spec.AutomountServiceAccountToken)
			assert.False(t, pod.Spec.HostPID)
			assert.Nil(t, c.SecurityContext.Privileged)
			assert.False(t, *c.SecurityContext.AllowPrivilegeEscalation)
			assert.True(t, *c.SecurityContext.ReadOnlyRootFilesystem)
			assert.Equal(t, []corev1.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop)
			assert.NotContains(t, c.SecurityContext.Capabilities.Add, corev1.Capability("SYS_ADMIN"))
			assert.Nil(t, c.SecurityContext.AppArmorProfile, "only D-Bus requires that there is none")
			assert.NotNil(t, pod.Spec.ActiveDeadlineSeconds)
			assert.Equal(t, "kube-system", pod.Namespace)
			assert.Equal(t, version.NodeImage(), c.Image)
			for _, m := range c.VolumeMounts {
				if m.MountPath == "/host" {
					assert.True(t, m.ReadOnly)
				}
			}
			for _, q := range c.Resources.Requests {
				assert.True(t, q.IsZero(), "a request could make the kubelet evict a workload")
			}
		})
	}
	assert.Empty(t, ScanPod("w1", "1", PodOptions{}).Spec.PriorityClassName, "a scan must not evict a workload")
}

func TestWritableMounts(t *testing.T) {
	for name, tc := range map[string]struct {
		dirs []string
		want []string
	}{
		"nothing but the state directory":        {nil, []string{"/var/lib/rotate-certs"}},
		"nested ones are writable already":       {[]string{"/etc/kubernetes/pki/etcd", "/etc/kubernetes/pki", "/etc/kubernetes"}, []string{"/var/lib/rotate-certs", "/etc/kubernetes"}},
		"a common beginning of names is no nest": {[]string{"/etc/kube", "/etc/kubernetes"}, []string{"/var/lib/rotate-certs", "/etc/kube", "/etc/kubernetes"}},
		"twice, and not clean":                   {[]string{"/srv/pki/", "/srv//pki"}, []string{"/var/lib/rotate-certs", "/srv/pki"}},
		"below the state directory":              {[]string{"/var/lib/rotate-certs", "/var/lib/rotate-certs/x"}, []string{"/var/lib/rotate-certs"}},
		"above the state directory":              {[]string{"/var/lib"}, []string{"/var/lib/rotate-certs", "/var/lib"}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := RotatePod(step("w1", tc.dirs...), "1", PodOptions{})
			var got []string
			for _, m := range pod.Spec.Containers[0].VolumeMounts {
				if !m.ReadOnly {
					got = append(got, strings.TrimPrefix(m.MountPath, "/host"))
				}
			}
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestPodName(t *testing.T) {
	long := strings.Repeat("very-long-name.", 12) + "example.com"
	names := map[string]bool{}
	for _, node := range []string{"w1", "w1.example.com", "w1-example-com", long, long + "x", strings.Repeat("a", 39) + ".b"} {
		for _, id := range []string{"7f3c2a", "7f3c2b"} {
			name := podName(componentRotation, node, id)
			assert.Empty(t, validation.IsDNS1123Label(name), name)
			assert.Equal(t, name, podName(componentRotation, node, id))
			assert.False(t, names[name], "%s is not unique", name)
			names[name] = true
		}
	}
}

func TestLabelValue(t *testing.T) {
	for _, v := range []string{"v1.2.3", "v1.2.3+build.5", strings.Repeat("v", 80), "-x-"} {
		assert.Empty(t, validation.IsValidLabelValue(labelValue(v)), v)
	}
}

func TestRotatePodDeadlineFollowsTheStep(t *testing.T) {
	for _, tt := range []struct{ needed, want time.Duration }{
		{0, 30 * time.Minute}, {time.Minute, 30 * time.Minute}, {3 * time.Hour, 3 * time.Hour}, {100 * time.Hour, 24 * time.Hour},
	} {
		pod := RotatePod(plan.Step{Node: "cp1", LifetimeSeconds: int64(tt.needed.Seconds())}, "7f3c2a", PodOptions{})
		assert.Equal(t, int64(tt.want.Seconds()), *pod.Spec.ActiveDeadlineSeconds)
	}
}
