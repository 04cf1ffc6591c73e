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
	d.readManifests(manifests)
	var out []*program
	var opaque []opaqueContainer
	for _, f := range d.pods {
		for i := range f.pod.Spec.Containers {
			c := &f.pod.Spec.Containers[i]
			r, env, ok := fromContainer(c)
			if !ok {
				opaque = append(opaque, opaqueContainer{f, c})
				continue
			}
			found := d.podComponent(f, c, r, env, running)
			if found == nil {
				continue
			}
			if i := slices.IndexFunc(out, func(o *program) bool { return o.service == found.service }); i >= 0 {
				d.noteSecondManifest(out[i], found, f.path)
				continue
			}
			out = append(out, found)
		}
	}
	for _, o := range opaque {
		if found := d.fromOpaque(o, running, out); found != nil {
			out = append(out, found)
		}
	}
	return out
}

// readManifests reads the static pods of the kubelet's directory or file.
func (d *discovery) readManifests(manifests string) {
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
	}
}

// opaqueContainer is a static pod's container with a command that is no known component.
type opaqueContainer struct {
	manifestFile

	container *container
}

// namedService is the component that a container has the name of, or its pod if that has no other.
func (o opaqueContainer) namedService() (certs.Service, bool) {
	if s, ok := serviceNamed(o.container.Name); ok {
		return s, true
	}
	if len(o.pod.Spec.Containers) > 1 {
		return "", false
	}
	return serviceNamed(o.pod.Metadata.Name)
}

// fromOpaque describes a component behind a program that is not known, such as a script of its own
// image, by its process. Nil for a container that is named for none, or for one that is known.
func (d *discovery) fromOpaque(o opaqueContainer, running []process, known []*program) *program {
	service, ok := o.namedService()
	if !ok || slices.ContainsFunc(known, func(p *program) bool { return p.service == service }) {
		return nil
	}
	own := d.processesOf(o.pod, service, running)
	// A container of a workload may run the same program, without any arguments.
	own = slices.DeleteFunc(own, func(p process) bool { return !p.place.isStatic() })
	proc, ok := runningAs(recognized{service: service}, own)
	if !ok {
		d.notInspected(service, o.path, fmt.Sprintf("its command is behind a program that is not known (%q), and it does not run: its certificates are not known",
			firstWord(slices.Concat(o.container.Command, o.container.Args))))
		return nil
	}
	return d.podComponent(o.manifestFile, o.container, recognized{service: service, args: proc.args, opaque: true}, o.container.literalVariables(), running)
}

func firstWord(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
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

// fromContainer finds the component that a container in a static pod runs, with its variables.
func fromContainer(c *container) (r recognized, env map[string]string, ok bool) {
	env = c.literalVariables()
	if r, ok = c.recognizeComponent(env); !ok {
		return r, env, false
	}
	r, env = r.withVariables(env)
	return r, env, true
}

// podComponent describes the component r that a container of a static pod runs. Nil for one that is
// left out by name, since its arguments are not known.
func (d *discovery) podComponent(f manifestFile, c *container, r recognized, env map[string]string, running []process) *program {
	p := f.pod
	out := &program{
		service: r.service, args: r.args, env: env, files: p.pathResolver(c, env), isolated: !p.Spec.HostNetwork,
		component: inventory.Component{
			Service: r.service, Runtime: inventory.StaticPod, Manifest: f.path,
			ContainerName: c.Name, PodName: p.Metadata.Name, PodNamespace: p.Metadata.Namespace,
		},
	}
	own := d.processesOf(p, r.service, running)
	proc, ok := runningAs(r, own)
	// The manifest takes precedence, since a restart will use it. Values that the API server
	// provides ($(POD_IP) from a fieldRef), and the arguments in a script, are taken from the process.
	takes := r.script || r.opaque || r.hasVariable()
	switch {
	case ok && takes && !d.isCertain(r, proc, own):
		const reason = "several static pods run it, and its arguments are known only by its process: which process is that of this manifest is not known"
		d.notInspected(r.service, f.path, reason)
		return d.fromPod(proc, reason)
	case ok:
		out.component.PID = proc.pid
		out.component.StartedAt = proc.started
		if takes {
			out.args = proc.args
		}
		if r.script {
			out.env = c.literalVariables()
		}
	case d.leaveUnknown(r, f.path):
		return nil
	default:
		out.fromScript = r.script
		out.component.Note = "does not run"
	}
	out.component.Args = redactArgs(out.args)
	if out.isolated {
		out.component.Note = "has a network of its own, so its endpoints are not reachable from the node"
	}
	return out
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
