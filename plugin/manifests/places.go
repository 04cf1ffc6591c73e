package manifests

import "strings"

// AgentDirectories are the directories of a node that every agent can read. Each must exist:
// the kubelet, or the container runtime, would create a missing one.
var AgentDirectories = []string{"/etc", "/lib", "/proc", "/usr", "/var/lib"}

// kubeletRootDir is the default of the root directory of kubelets.
const kubeletRootDir = "/var/lib/kubelet"

// HiddenDirectories hold volumes of pods, and sockets through which volumes and devices
// are managed. That of device plugins does not follow the kubelet's --root-dir: see
// DevicePluginPath in k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1.
func (s Settings) HiddenDirectories() []string {
	out := []string{kubeletRootDir + "/device-plugins"}
	for _, name := range []string{"plugins", "plugins_registry", "pod-resources", "pods"} {
		out = append(out, s.kubeletRoot()+"/"+name)
	}
	return out
}

func (s Settings) kubeletRoot() string {
	if s.KubeletRootDir == "" {
		return kubeletRootDir
	}
	return s.KubeletRootDir
}

// Within is true if a directory is another one or below it.
func Within(dir, in string) bool { return dir == in || in == "/" || strings.HasPrefix(dir, in+"/") }
