package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// staticPods reads the manifests in the kubelet's directory (or its one file) and
// returns the components among them, with the processes that run them.
func (d *discovery) staticPods(manifests string, running []process) []*program {
	var out []*program
	for _, file := range d.manifestFiles(manifests) {
		data, err := d.root.ReadFile(file)
		if err != nil {
			d.notInspected("", file, err.Error())
			continue
		}
		p, err := parseManifest(data)
		if err != nil {
			d.notInspected(serviceOfFile(file), file, err.Error())
			continue
		}
		d.pods = append(d.pods, manifestFile{file, p})
		for i := range p.Spec.Containers {
			found, ok := fromContainer(p, &p.Spec.Containers[i], running)
			if !ok {
				continue
			}
			if i := slices.IndexFunc(out, func(o *program) bool { return o.service == found.service }); i >= 0 {
				d.noteSecondManifest(out[i], found, file)
				continue
			}
			found.component.Manifest = file
			out = append(out, found)
		}
	}
	return out
}

// noteSecondManifest reports another manifest of a component: a copy of the first one, of whose
// pods the kubelet runs only one, or a second component.
func (d *discovery) noteSecondManifest(first, second *program, file string) {
	if first.component.PodName == second.component.PodName && first.component.PodNamespace == second.component.PodNamespace {
		d.notInspectedByDesign(second.service, file, "a second manifest for this component, whose certificates are not inspected")
		return
	}
	d.notInspected(second.service, file, fmt.Sprintf(secondComponent, second.service, "static pod "+second.component.PodName, first.component.Manifest))
}

// manifestFile is a static pod with the path of its manifest.
type manifestFile struct {
	path string
	pod  *pod
}

// manifestFiles lists the files that the kubelet would read: those without a leading dot.
func (d *discovery) manifestFiles(manifests string) []string {
	if manifests == "" {
		return nil
	}
	info, err := d.root.Stat(manifests)
	switch {
	case err != nil:
		return nil // a worker need not have the directory
	case !info.IsDir():
		return []string{manifests}
	}
	entries, err := d.root.ReadDir(manifests)
	if err != nil {
		d.notInspected("", manifests, err.Error())
		return nil
	}
	var out []string
	for _, e := range entries {
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") {
			out = append(out, path.Join(manifests, e.Name()))
		}
	}
	return out
}

// serviceOfFile guesses which component's manifest a broken file was, so that it is
// listed under it.
func serviceOfFile(file string) certs.Service {
	name, _, _ := strings.Cut(path.Base(file), ".")
	s, ok := serviceNamed(name)
	if !ok {
		return ""
	}
	return s
}

// fromContainer describes a component by its container in a static pod.
func fromContainer(p *pod, c *container, running []process) (*program, bool) {
	env := c.literalVariables()
	r, ok := c.recognizeComponent(env)
	if !ok {
		return nil, false
	}
	out := &program{
		service: r.service, args: r.args, env: env, files: p.pathResolver(c, env), isolated: !p.Spec.HostNetwork,
		component: inventory.Component{
			Service: r.service, Runtime: inventory.StaticPod,
			ContainerName: c.Name, PodName: p.Metadata.Name, PodNamespace: p.Metadata.Namespace,
		},
	}
	if proc, ok := runningAs(r, running); ok {
		out.component.PID = proc.pid
		out.component.StartedAt = proc.started
		// The manifest takes precedence, since a restart will use it. Only values that the API
		// server provides ($(POD_IP) from a fieldRef) are taken from the process.
		if slices.ContainsFunc(r.args, func(a string) bool { return strings.Contains(a, "$(") }) {
			out.args = proc.args
		}
	} else {
		out.component.Note = "does not run"
	}
	out.component.Args = redactArgs(out.args)
	if out.isolated {
		out.component.Note = "has a network of its own, so its endpoints are not reachable from the node"
	}
	return out, true
}

// runningAs finds a static pod's process: the same arguments first, else the same
// component in some static pod.
func runningAs(r recognized, running []process) (process, bool) {
	for _, fits := range []func(process) bool{
		func(p process) bool { return p.place.container && slices.Equal(p.args, r.args) },
		func(p process) bool { return p.place.isStatic() },
	} {
		best := process{}
		found := false
		for _, p := range running {
			// The component itself rather than a wrapper around it.
			if p.service == r.service && fits(p) && (!found || p.direct && !best.direct) {
				best = p
				found = true
			}
		}
		if found {
			return best, true
		}
	}
	return process{}, false
}
