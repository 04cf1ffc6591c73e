package layout

import (
	"cmp"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// replacedPrefix begins the names that RKE1 gives to containers which it has replaced.
const replacedPrefix = "old-"

// stoppedContainers returns the components among the services whose Docker containers do not
// run: they were stopped, or wait for their next restart since they exit again and again, as they
// do with expired certificates. Docker must restart them by policy, on the host's network.
func (d *discovery) stoppedContainers(services []certs.Service) []*program {
	var out []*program
	for _, c := range d.listDocker() {
		r, ok := recognizeArgs(append([]string{c.Path}, c.Args...))
		if !ok || !slices.Contains(services, r.service) || c.isPods() || strings.HasPrefix(c.plainName(), replacedPrefix) {
			continue
		}
		services = slices.DeleteFunc(slices.Clone(services), func(s certs.Service) bool { return s == r.service })
		p := &program{files: c.fileResolver(), containerID: c.ID}
		env := map[string]string{}
		for _, assignment := range c.Config.Env {
			keepEtcdVariable(env, assignment)
		}
		r, p.env = r.withVariables(env)
		if d.leaveUnknown(r, "") {
			continue
		}
		p.fromScript = r.script
		p.service = r.service
		p.args = r.args
		p.component = inventory.Component{Service: r.service, Args: redactArgs(r.args), Note: "does not run"}
		d.restartByDocker(p, c)
		out = append(out, p)
	}
	return out
}

// listDocker returns the containers that Docker restarts by policy, on the host's network.
func (d *discovery) listDocker() []*dockerContainer {
	var out []*dockerContainer
	for _, directory := range d.dataDirectories() {
		entries, err := d.root.ReadDir(directory)
		if err != nil {
			continue
		}
		for _, e := range entries[:min(len(entries), maxDockerContainers)] {
			host := d.readHostConfig(directory, e.Name())
			if host.NetworkMode != "host" || cmp.Or(host.RestartPolicy.Name, "no") == "no" {
				continue
			}
			if c, ok := d.readDocker(directory, e.Name()); ok {
				out = append(out, &c)
			}
		}
	}
	return out
}

// dataDirectories are those in which Docker keeps containers: where components have theirs, and
// by the configuration of dockerd.
func (d *discovery) dataDirectories() []string {
	configured := dockerContainers
	var daemon struct {
		DataRoot string `json:"data-root"`
	}
	data, err := d.root.ReadFile("/etc/docker/daemon.json")
	if err == nil && json.Unmarshal(data, &daemon) == nil && daemon.DataRoot != "" {
		configured = path.Join(daemon.DataRoot, "containers")
	}
	if slices.Contains(d.dockerDirectories, configured) {
		return d.dockerDirectories
	}
	return append(slices.Clone(d.dockerDirectories), configured)
}
