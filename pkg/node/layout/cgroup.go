package layout

import (
	"regexp"
	"strings"
	"sync"
)

// placement is the unit or pod of a process, according to its control groups.
type placement struct {
	unit      string // "kubelet.service"; empty in a container or outside of any unit
	container bool
	podUID    string // of the pod, with dashes; a static pod's is 32 hex digits without
	// nested: a machine of its own in a container started it, such as a node of a test cluster.
	nested bool
}

// isStatic reports whether the pod came from a manifest on this node: the kubelet gives such
// pods a hash for a UID, where the API server gives a UUID.
func (p placement) isStatic() bool {
	return p.podUID != "" && !strings.Contains(p.podUID, "-")
}

// podPattern matches the control group of a pod, as the cgroupfs driver
// ("pod0123…") and the systemd driver ("kubepods-burstable-pod0123_….slice") name it.
var podPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?:^|-)pod([0-9a-f]{32}|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?:\.slice)?(?::.*)?$`)
})

// containerPattern matches the control group of a container: a bare id, or a
// scope or slice part named by its runtime ("cri-containerd-…", "crio-…", "libpod-…", "nerdctl-…").
var containerPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:[a-z0-9]+-)*[0-9a-f]{64}(?:\.scope)?$|:(?:cri-containerd|crio|docker):`)
})

// podmanPayload begins the control group of a container that podman has started in the group of a
// systemd unit, which stops and starts it (quadlet).
const podmanPayload = "libpod-payload-"

// isMachine reports whether an element of a control group's path names a machine of its own, which
// starts units and pods: of LXC, systemd-machined or systemd-nspawn.
func isMachine(element string) bool {
	return element == "lxc" || strings.HasPrefix(element, "lxc.payload") || strings.HasPrefix(element, "systemd-nspawn@") ||
		strings.HasPrefix(element, "machine-") && strings.HasSuffix(element, ".scope")
}

// containerIDPattern matches the runtime's id of a container in a control group's path.
var containerIDPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`[0-9a-f]{64}`)
})

// podUIDIn returns the UID of a pod, with dashes, that an element of a control group's path
// names; "": none. The pattern is for the few elements that can match.
func podUIDIn(element string) string {
	if !strings.Contains(element, "pod") {
		return ""
	}
	m := podPattern().FindStringSubmatch(element)
	if m == nil {
		return ""
	}
	return strings.ReplaceAll(m[1], "_", "-")
}

// namesContainer reports whether an element of a control group's path names a container. An id
// has 64 digits, so shorter elements without a colon cannot match.
func namesContainer(element string) bool {
	return (len(element) >= 64 || strings.Contains(element, ":")) && containerPattern().MatchString(element)
}

// containerID is the id in a process's control groups; "" outside of containers.
func containerID(groups map[string]string) string {
	for _, path := range groups {
		if ids := containerIDPattern().FindAllString(path, -1); len(ids) > 0 {
			return ids[len(ids)-1] // those before are of containers around this one
		}
	}
	return ""
}

// cgroupPaths reads the content of a /proc/PID/cgroup: hierarchy → path. It serves
// cgroup v1, v2 and both at once.
func cgroupPaths(data []byte) map[string]string {
	out := map[string]string{}
	for line := range strings.SplitSeq(string(data), "\n") {
		parts := strings.SplitN(line, ":", 3)
		if len(parts) == 3 {
			out[parts[1]] = parts[2]
		}
	}
	return out
}

// placeProcess determines the unit or pod of a process. init are the groups of the node's
// process 1: the groups of a node that is itself a container (nspawn, kind) have a prefix,
// which is ignored. A reader in a control-group namespace of its own sees that prefix as
// "/../..".
func placeProcess(paths, init map[string]string) placement {
	var p placement
	unitOfPodman := false
	for hierarchy, path := range paths {
		prefix := strings.TrimSuffix(strings.TrimSuffix(init[hierarchy], "/init.scope"), "/init")
		if rest, ok := strings.CutPrefix(path, prefix); ok && (rest == "" || rest[0] == '/') {
			path = rest
		}
		inside := false // a container or a machine, by an element before
		for element := range strings.SplitSeq(path, "/") {
			uid := podUIDIn(element)
			unit := strings.HasSuffix(element, ".service")
			p.nested = p.nested || inside && (uid != "" || unit)
			if uid != "" {
				p.container = true
				p.podUID = uid
			}
			if namesContainer(element) {
				p.container = true
				inside = true
				unitOfPodman = strings.HasPrefix(element, podmanPayload)
			}
			inside = inside || isMachine(element)
			// The last of nested units is the process's own.
			if unit && (hierarchy == "" || hierarchy == "name=systemd" || p.unit == "") {
				p.unit = element
			}
		}
	}
	if p.container && !unitOfPodman {
		p.unit = ""
	}
	return p
}
