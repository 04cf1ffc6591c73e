package layout

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// noteMovedManifests records the parts of a control plane that do not run and whose manifests were
// moved out of the kubelet's directory, which stops static pods: they lie in the directory above it,
// or in one beside it. Without this, a control-plane node would count as a worker.
func (d *discovery) noteMovedManifests(programs []*program) {
	if d.kubelet == nil || strings.Count(d.kubelet.manifests, "/") < 3 {
		return // the directory above holds all kinds of files
	}
	moved := map[certs.Service]string{}
	for _, file := range d.filesBesideManifests(d.kubelet.manifests) {
		s := serviceOfFile(file)
		runs := slices.ContainsFunc(programs, func(p *program) bool { return p.service == s })
		if s == "" || s == certs.Kubelet || s == certs.KubeProxy || runs || moved[s] != "" {
			continue
		}
		data, err := d.root.ReadFile(file)
		if err != nil {
			continue
		}
		if p, err := parseManifest(data); err == nil && runsService(p, s) {
			moved[s] = file
		}
	}
	for _, s := range certs.Services() {
		// A control plane whose etcd is elsewhere may keep the manifest of an earlier member.
		if file := moved[s]; file != "" && (s != certs.Etcd || moved[certs.KubeAPIServer] != "" || usesLocalEtcd(programs)) {
			d.notInspected(s, file, fmt.Sprintf("no %s was found on this node, and its manifest is not in %q, where the kubelet starts static pods: "+
				"move it there, or remove it if this node is to run none", s, d.kubelet.manifests))
		}
	}
}

// filesBesideManifests lists the files in the directory above that of static pods, and in the
// others there.
func (d *discovery) filesBesideManifests(manifests string) []string {
	above := path.Dir(manifests)
	out := d.manifestFiles(above)
	entries, err := d.root.ReadDir(above)
	if err != nil {
		return out
	}
	for _, e := range entries {
		if dir := path.Join(above, e.Name()); e.IsDir() && dir != manifests {
			out = append(out, d.manifestFiles(dir)...)
		}
	}
	return out
}

// runsService reports whether a pod runs a component.
func runsService(p *pod, s certs.Service) bool {
	return slices.ContainsFunc(p.Spec.Containers, func(c container) bool {
		r, ok := c.recognizeComponent(c.literalVariables())
		return ok && r.service == s
	})
}

// usesLocalEtcd reports whether an API server uses a member of its own node.
func usesLocalEtcd(programs []*program) bool {
	return slices.ContainsFunc(programs, func(p *program) bool {
		return p.service == certs.KubeAPIServer && slices.ContainsFunc(p.args.listValue("etcd-servers"), func(u string) bool { return isLoopback(hostPort(u)) })
	})
}
