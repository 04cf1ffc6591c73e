package manifests

import "strings"

// AgentDirectories are those of a node that every agent is shown. Each must exist: the
// kubelet, or else the container runtime, would create one that does not.
var AgentDirectories = []string{"/etc", "/lib", "/proc", "/usr", "/var/lib"}

// kubeletRootDir is where kubelets keep what they need, unless told otherwise.
const kubeletRootDir = "/var/lib/kubelet"

// HostDirectory is a directory of a node that agents are shown beside AgentDirectories.
type HostDirectory struct {
	Path string
	// Volumes of pods are mounted below it: they have to be let go when the host does.
	Volumes bool
}

// Directories are those that agents are shown beside AgentDirectories: those that were
// asked for, and the kubelet's where it lies in none of them.
func (s Settings) Directories() []HostDirectory {
	var out []HostDirectory
	root := s.kubeletRoot()
	shown := Within(root, "/var/lib")
	for _, dir := range s.AgentDirectories {
		out = append(out, HostDirectory{dir, Within(root, dir)})
		shown = shown || Within(root, dir)
	}
	if !shown {
		out = append(out, HostDirectory{root, true})
	}
	return out
}

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

// Within tells whether a directory is another one or lies in it.
func Within(dir, in string) bool { return dir == in || in == "/" || strings.HasPrefix(dir, in+"/") }
