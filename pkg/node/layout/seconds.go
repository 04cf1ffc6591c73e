package layout

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// secondComponent is the reason why the second of two components of one service is not inspected:
// its service, its unit or pod, and that of the first.
const secondComponent = "a second %s runs on this node (%s) beside that of %s; only one is inspected, and the certificates of the second are neither listed nor renewed"

// sortProcesses puts the process of each service first that is taken for the component, always
// the same of several: the component itself before a wrapper around it, the etcd that this node's
// API server uses before another one, one of a unit before one of a container, and of those of
// units the one with the shortest name. The order of process ids changes at every restart.
func (d *discovery) sortProcesses(running []process) {
	ports := etcdPorts(running)
	rank := func(p process) int {
		out := len(p.place.unit)
		if out == 0 {
			out = maxUnitName
		}
		if p.service == certs.Etcd && len(ports) > 0 && !d.listensOn(p, ports) {
			out += maxUnitName + 1
		}
		if !p.direct {
			out += 2 * (maxUnitName + 1)
		}
		return out
	}
	slices.SortStableFunc(running, func(a, b process) int {
		return cmp.Or(rank(a)-rank(b), strings.Compare(a.place.unit, b.place.unit))
	})
}

// maxUnitName is the length of the longest name of a systemd unit.
const maxUnitName = 255

// etcdPorts returns the ports of the etcd members that the API servers of this node use.
func etcdPorts(running []process) []string {
	var out []string
	for _, p := range running {
		if p.service == certs.KubeAPIServer {
			out = append(out, portsOf(p.args.lastValue("etcd-servers"))...)
		}
	}
	return out
}

// listensOn reports whether an etcd listens for clients on one of the ports.
func (d *discovery) listensOn(p process, ports []string) bool {
	const flag = "listen-client-urls"
	value, set := p.args.lookupFlag(flag)
	if !set {
		env, _ := d.processEnvironment(p.pid)
		value = env[settings.EtcdVariable(flag)]
	}
	return slices.ContainsFunc(portsOf(value), func(port string) bool { return slices.Contains(ports, port) })
}

// portsOf returns the ports of a list of URLs.
func portsOf(list string) []string {
	var out []string
	for _, raw := range splitList(list) {
		if u, err := url.Parse(raw); err == nil && u.Port() != "" {
			out = append(out, u.Port())
		}
	}
	return out
}

// noteSeconds reports the components that run beside another one of the same service, in a unit or
// container of their own.
func (d *discovery) noteSeconds(running []process, programs []*program) {
	noted := map[string]bool{}
	for _, p := range running {
		i := slices.IndexFunc(programs, func(first *program) bool { return first.service == p.service })
		if i < 0 || !p.isSecondOf(programs[i]) || noted[p.placeName()] {
			continue
		}
		noted[p.placeName()] = true
		file := ""
		if u, ok := d.loadedUnit(p.place.unit); ok {
			file = u.path
		}
		d.notInspected(p.service, file, fmt.Sprintf(secondComponent, p.service, p.placeName(), placeOf(programs[i].component)))
	}
}

// isSecondOf reports whether a process is that of another component of the same service: not one
// that a pod runs, nor a command that ends at once, such as "etcd --version".
func (p process) isSecondOf(first *program) bool {
	known := func(flag string) bool { _, set := p.args.lookupFlag(flag); return set }
	switch {
	case !p.direct || p.place.podUID != "" || p.pid == first.component.PID || p.place.unit == "" && !p.place.container:
		return false
	case p.place.unit == "" && first.component.Runtime == inventory.StaticPod:
		return false // possibly its own container, in a control group that does not name the pod
	case p.place.unit == first.component.Unit && p.containerID == first.containerID && slices.Equal(p.args, first.args):
		return false // it was restarted just now, or is a child process
	}
	return slices.ContainsFunc(distinctive[p.service], known)
}

func (p process) placeName() string {
	return cmp.Or(p.place.unit, fmt.Sprintf("container %.12s", p.containerID))
}

// placeOf names what runs a component.
func placeOf(c inventory.Component) string {
	return cmp.Or(c.Manifest, c.Unit, c.ContainerName, c.PodName, "another process")
}
