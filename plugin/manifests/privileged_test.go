package manifests

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// TestDocumentedPods keeps the table of pods in docs/privileged.md true; UPDATE=1 writes it.
func TestDocumentedPods(t *testing.T) {
	const path = "../../docs/privileged.md"
	step := plan.Step{Node: "cp1", ControlPlane: true, Directories: []string{"/etc/kubernetes/pki"}}
	withUnits := step
	withUnits.DBusSocket = "/run/dbus/system_bus_socket"
	objects := render(t, base())
	rows := []string{
		"| pod | user | network | host directories | capabilities | AppArmor | SELinux |",
		"|---|---|---|---|---|---|---|",
		podRow("scan", kube.ScanPod("cp1", "1", kube.PodOptions{}).Spec),
		podRow("rotation", kube.RotatePod(step, "1", kube.PodOptions{}).Spec),
		podRow("rotation where a systemd unit is restarted", kube.RotatePod(withUnits, "1", kube.PodOptions{}).Spec),
		podRow("agent", find[*appsv1.DaemonSet](t, objects, Agent, "rotate-certs").Spec.Template.Spec),
		podRow("watcher", find[*appsv1.Deployment](t, objects, Watcher, "rotate-certs").Spec.Template.Spec),
	}
	before, err := os.ReadFile(path)
	require.NoError(t, err)
	block := regexp.MustCompile(`(?s)<!-- pods -->.*?<!-- end -->`)
	require.True(t, block.Match(before), "docs/privileged.md has a place for the pods")
	after := block.ReplaceAllLiteralString(string(before), "<!-- pods -->\n"+strings.Join(rows, "\n")+"\n<!-- end -->")
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(after), 0o644))
		return
	}
	assert.Equal(t, after, string(before), "UPDATE=1 go test ./plugin/manifests writes it")
}

// podRow is a pod's line of the table.
func podRow(name string, pod corev1.PodSpec) string {
	security := pod.Containers[0].SecurityContext
	user := "root"
	if pod.SecurityContext.RunAsUser == nil || *pod.SecurityContext.RunAsUser != 0 {
		user = "not root"
	}
	network := "its own"
	if pod.HostNetwork {
		network = "the node's"
	}
	appArmor := "the runtime's default"
	if security.AppArmorProfile != nil {
		appArmor = string(security.AppArmorProfile.Type)
	}
	label := "the runtime's default"
	if options := pod.SecurityContext.SELinuxOptions; options != nil {
		label = "`" + options.Type + "`"
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |", name, user, network,
		hostDirectories(pod), capabilities(security), appArmor, label)
}

// hostDirectories lists what a pod mounts of its host, and whether it can write there.
func hostDirectories(pod corev1.PodSpec) string {
	var out []string
	for _, v := range pod.Volumes {
		if v.HostPath == nil {
			continue
		}
		how := "read-only"
		if slices.ContainsFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == v.Name && !m.ReadOnly }) {
			how = "**writable**"
		}
		out = append(out, fmt.Sprintf("`%s` %s", v.HostPath.Path, how))
	}
	if len(out) == 0 {
		return "none"
	}
	return strings.Join(out, ", ")
}

func capabilities(security *corev1.SecurityContext) string {
	if !slices.Contains(security.Capabilities.Drop, "ALL") {
		return "**the runtime's default**"
	}
	if len(security.Capabilities.Add) == 0 {
		return "none"
	}
	var out []string
	for _, c := range security.Capabilities.Add {
		out = append(out, string(c))
	}
	return strings.Join(out, ", ")
}
