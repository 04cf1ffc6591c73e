package layout

import (
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// processesOf returns the processes among which that of a static pod's component is: those of the pod,
// if the kubelet's directory of logs has its name, else those of pods without a name there.
func (d *discovery) processesOf(p *pod, s certs.Service, running []process) []process {
	var own, unknown []process
	for _, r := range running {
		if r.service != s {
			continue
		}
		owner, known := d.podOfProcess(r)
		switch {
		case !known:
			unknown = append(unknown, r)
		case owner == p:
			own = append(own, r)
		}
	}
	if len(own) > 0 {
		return own
	}
	return unknown
}

// podOfProcess finds the static pod of a process, which the kubelet names after its manifest and its
// node. known is false where the pod has no name here, or the names of several manifests fit.
func (d *discovery) podOfProcess(r process) (owner *pod, known bool) {
	if !r.place.isStatic() {
		return nil, false
	}
	namespace, name := d.podOf(r.place.podUID)
	if name == "" {
		return nil, false
	}
	node := strings.ToLower(d.nodeName(d.opts.NodeName))
	fitting := 0
	for _, f := range d.pods {
		own := f.pod.Metadata.Name
		switch {
		case f.pod.Metadata.Namespace != namespace:
		case name == own+"-"+node:
			return f.pod, true
		case strings.HasPrefix(name, own+"-"):
			owner = f.pod
			fitting++
		}
	}
	return owner, fitting == 1
}

// isCertain reports whether a process is that of a component in a static pod: it has its arguments, or
// no other static pod runs the same service as far as is known.
func (d *discovery) isCertain(r recognized, proc process, among []process) bool {
	if !r.opaque && slices.Equal(proc.args, r.args) {
		return true
	}
	if _, known := d.podOfProcess(proc); known {
		return true
	}
	return !slices.ContainsFunc(among, func(p process) bool { return p.place.isStatic() && p.place.podUID != proc.place.podUID })
}
