package plugin

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// hostDirectory is the form of a path that needs no quoting in the manifests.
var hostDirectory = regexp.MustCompile(`^(/[a-zA-Z0-9._@+-]+)+$`)

func validDirectory(dir string) bool { return hostDirectory.MatchString(dir) && path.Clean(dir) == dir }

// neverShown are directories with sockets and devices by which an agent could become root on
// its node, or with the kernel's data about other processes. MicroK8s has the sockets of containerd
// and of its datastore among its data.
var neverShown = []string{"/dev", "/proc", "/run", "/sys", "/var/run", "/var/snap/microk8s"}

// validPlaces checks the directories that agents are to read.
func validPlaces(s manifests.Settings) error {
	if s.KubeletRootDir != "" && (!validDirectory(s.KubeletRootDir) || overlapsAny(s.KubeletRootDir, neverShown)) {
		return fmt.Errorf("--kubelet-root-dir %q: want the --root-dir of the kubelet, such as /data/kubelet", s.KubeletRootDir)
	}
	for _, dir := range s.AgentDirectories {
		switch {
		case !validDirectory(dir):
			return fmt.Errorf("--agent-directory %q: want a directory of the nodes, such as /srv", dir)
		case overlapsAny(dir, neverShown):
			return hint.AddTo(fmt.Errorf("--agent-directory %s holds sockets or devices, by which an agent could become root on its node", dir),
				"name only directories that hold certificates")
		}
		for _, shown := range manifests.AgentDirectories {
			if manifests.Within(dir, shown) {
				return fmt.Errorf("--agent-directory %s is not needed: agents read %s", dir, shown)
			}
		}
		for _, hidden := range s.HiddenDirectories() {
			if manifests.Within(dir, hidden) {
				return errors.New("--agent-directory " + dir + " holds volumes of pods or sockets of the kubelet, which agents may not read")
			}
		}
	}
	return nil
}

// overlapsAny reports whether a directory is, lies in, or holds one of others.
func overlapsAny(dir string, others []string) bool {
	return slices.ContainsFunc(others, func(o string) bool { return manifests.Within(dir, o) || manifests.Within(o, dir) })
}

// cleanDirectories are the values of a flag that names some, without slashes at their ends.
func cleanDirectories(values []string) []string {
	var out []string
	for _, v := range trimmedList(values) {
		if v != "/" {
			v = strings.TrimRight(v, "/")
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out
}
