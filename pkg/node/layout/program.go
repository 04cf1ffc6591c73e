package layout

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// program is a component as it is, or would be, started.
type program struct {
	service   certs.Service
	args      arguments
	env       map[string]string // the variables of the manifest or unit, or of the process
	envHidden bool              // the variables of the process could not be read
	files     resolver
	orHost    bool // see locate
	// fromScript: its arguments are those of a script, and it does not run.
	fromScript bool
	component  inventory.Component
	// isolated: it has a network of its own, so the node's addresses do not lead to it.
	isolated bool
	place    placement
	// distribution is the product that runs a supervised component; nil: none known.
	distribution *distribution
	// dataDir is where MicroK8s has its data.
	dataDir string
	// secrets: it is an ordinary pod, whose certificates are not the node's files.
	secrets bool
	// containerID is the runtime's id of its container; "" outside of one.
	containerID string
	// docker are the settings of its Docker container.
	docker hostConfig
}

// otherComponents finds the components that are no static pods: those that run under systemd or
// otherwise, then those that a unit or Docker would start.
func (d *discovery) otherComponents(running []process, known []*program) []*program {
	var found []*program
	has := func(s certs.Service) bool {
		return slices.ContainsFunc(append(slices.Clone(known), found...), func(p *program) bool { return p.service == s })
	}
	for _, p := range running {
		switch {
		case has(p.service):
		case p.place.podUID == "" || p.service == certs.KubeProxy && !p.place.isStatic():
			found = append(found, d.fromProcess(p))
		default:
			if pod := d.unmanagedPod(p); pod != nil {
				found = append(found, pod)
			}
		}
	}
	if !has(certs.KubeProxy) {
		if p := d.restingKubeProxy(); p != nil {
			found = append(found, p)
		}
	}
	var missing []certs.Service
	for _, s := range certs.Services() {
		if s != certs.Admin && s != certs.Kubelet && !has(s) {
			missing = append(missing, s)
		}
	}
	missing = slices.DeleteFunc(missing, d.isLeftOut)
	for _, u := range d.stoppedUnits(missing) {
		if !has(u.service) && !d.isLeftOut(u.service) {
			found = append(found, d.fromUnit(u)...)
		}
	}
	missing = slices.DeleteFunc(missing, func(s certs.Service) bool { return has(s) || d.isLeftOut(s) })
	return append(found, d.stoppedContainers(missing)...)
}

// findKubelet returns the kubelet, running or not, if the node has one.
func (d *discovery) findKubelet(running []process) []*program {
	best := -1
	for i, p := range running {
		if p.service == certs.Kubelet && p.place.podUID == "" && (best < 0 || p.direct && !running[best].direct) {
			best = i
		}
	}
	if best >= 0 {
		return []*program{d.fromProcess(running[best])}
	}
	if units := d.stoppedUnits([]certs.Service{certs.Kubelet}); len(units) > 0 {
		return d.fromUnit(units[0])
	}
	return d.stoppedContainers([]certs.Service{certs.Kubelet})
}

// fromProcess describes a component by its running process.
func (d *discovery) fromProcess(p process) *program {
	out := &program{service: p.service, args: p.args, place: p.place, containerID: p.containerID}
	out.component = inventory.Component{
		Service: p.service, Runtime: inventory.None, PID: p.pid, StartedAt: p.started, Args: redactArgs(p.args),
	}
	switch {
	case p.place.podUID != "":
		out.component.Runtime = inventory.DaemonSet
		out.files.inContainer = true
		out.component.PodNamespace, out.component.PodName = d.podOf(p.place.podUID)
	case p.place.container && p.place.unit == "":
		out.files = d.containerResolver(p.pid)
		d.describeContainer(out)
	case p.place.unit != "":
		out.component.Runtime = inventory.Systemd
		out.component.Unit = p.place.unit
		if u, ok := d.loadedUnit(p.place.unit); ok {
			out.env = u.env
			out.files = u.fileResolver()
		}
		if p.place.container {
			out.files = d.containerResolver(p.pid)
		}
		d.judgeUnit(p, out)
	default:
		out.component.Note = "no systemd unit and no manifest restarts it: it was started by another service manager or by hand"
	}
	return out
}

// unmanagedPod describes a component in a pod without a manifest on this node: a control plane
// in ordinary pods. Nil for a pod that is a workload: a tenant's control plane, an
// application's etcd.
func (d *discovery) unmanagedPod(p process) *program {
	if p.place.isStatic() {
		const reason = "runs as a static pod whose manifest was not found"
		d.notInspected(p.service, "", reason)
		return d.fromPod(p, reason)
	}
	namespace, name := d.podOf(p.place.podUID)
	switch {
	case p.service == certs.Kubelet:
		return nil
	case namespace == "" && !p.hostNetwork:
		d.notInspectedByDesign(p.service, "", "runs in an ordinary pod, whose certificates come from Secrets or its image and are not inspected")
		return nil
	case namespace != systemNamespace && !p.hostNetwork:
		return nil
	}
	pod := cmp.Or(name, p.place.podUID)
	reason := fmt.Sprintf("runs as the ordinary pod %s/%s and not as a static pod: its certificates come from Secrets, which are not inspected or renewed", namespace, pod)
	d.notInspectedByDesign(p.service, "", strings.Replace(reason, " /", " ", 1))
	return d.fromPod(p, strings.Replace(reason, " /", " ", 1))
}

// systemNamespace is where a control plane's own pods are.
const systemNamespace = "kube-system"

// fromPod describes a component in a pod of which only the existence is known.
func (d *discovery) fromPod(p process, note string) *program {
	out := &program{service: p.service, args: p.args, place: p.place, secrets: true}
	out.component = inventory.Component{
		Service: p.service, Runtime: inventory.None, PID: p.pid, StartedAt: p.started, Args: redactArgs(p.args), Note: note,
	}
	out.component.PodNamespace, out.component.PodName = d.podOf(p.place.podUID)
	if p.service == certs.KubeAPIServer {
		out.component.APIServer = out.advertisedAddress()
		out.component.ClientURLs = p.args.listValue("etcd-servers")
	}
	return out
}

// fromUnit describes a component that does not run by the unit that would start it. It is left out
// by name where its settings cannot be read.
func (d *discovery) fromUnit(u stoppedUnit) []*program {
	r, env := u.withVariables(u.unit.env)
	if d.leaveUnknown(r, u.unit.path) {
		return nil
	}
	return []*program{{
		service: r.service, args: r.args, env: env, files: u.unit.fileResolver(), fromScript: r.script,
		component: inventory.Component{
			Service: r.service, Runtime: inventory.Systemd, Unit: u.unit.name, Args: redactArgs(r.args), Note: "does not run",
		},
	}}
}

// isLeftOut reports whether a component was left out since its settings cannot be read: another one of
// its service is not taken in its place.
func (d *discovery) isLeftOut(s certs.Service) bool { return slices.Contains(d.leftOut, s) }

// leaveUnknown records a component that does not run, if its settings cannot be read from the script
// that starts it; false for others.
func (d *discovery) leaveUnknown(r recognized, file string) bool {
	if r.unknown != "" {
		d.leftOut = append(d.leftOut, r.service)
		d.notInspected(r.service, file, r.unknown+", and it does not run: its certificates are not known")
	}
	return r.unknown != ""
}

// podOf finds a pod's namespace and name by its UID, from the kubelet's log
// directory; empty where it is not there.
func (d *discovery) podOf(uid string) (namespace, name string) {
	entries, err := d.root.ReadDir("/var/log/pods")
	if err != nil {
		return "", ""
	}
	for _, e := range entries {
		if rest, ok := strings.CutSuffix(e.Name(), "_"+uid); ok {
			namespace, name, _ = strings.Cut(rest, "_")
			return namespace, name
		}
	}
	return "", ""
}

// hostPath resolves a path that a component names. If the host has no such path it records
// that, and returns false.
func (d *discovery) hostPath(p *program, name string) (string, bool) {
	if name == "" {
		return "", false
	}
	h, err := d.locatePath(p, name)
	if err != nil {
		d.notInspected(p.service, name, err.Error())
		return "", false
	}
	return h, true
}

// locatePath is hostPath without the record. A configuration file that is in no known mount,
// and the files that it names, are taken from the same path of the host if that exists.
func (d *discovery) locatePath(p *program, name string) (string, error) {
	if p.fromScript && strings.ContainsAny(name, "$`") {
		return "", fmt.Errorf("%q holds a value that only its process has", name)
	}
	h, err := p.files.hostPath(name)
	if err != nil && p.orHost {
		if _, absent := d.root.Stat(name); absent == nil {
			return path.Clean(name), nil
		}
	}
	return h, err
}

// pathWithin resolves a path that stands in a file of the component: relative to that
// file, as the component sees it.
func pathWithin(file, name string) string {
	if name == "" || path.IsAbs(name) {
		return name
	}
	return path.Join(path.Dir(file), name)
}
