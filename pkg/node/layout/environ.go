package layout

import (
	"fmt"
	"maps"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// etcdVariables matches the variables of a process that are read. Others may hold secrets, and
// are never kept.
var etcdVariables = sync.OnceValue(func() map[string]bool {
	out := map[string]bool{}
	for _, flag := range []string{
		"name", "data-dir", "wal-dir", "listen-client-urls", "listen-client-http-urls", "listen-peer-urls", "listen-metrics-urls",
		"advertise-client-urls", "quota-backend-bytes",
	} {
		out[settings.EtcdVariable(flag)] = true
	}
	for _, row := range settings.RowsOf(certs.Etcd) {
		if row.Flag != "" {
			out[row.EnvironmentVariable()] = true
		}
	}
	return out
})

// readsVariables reports whether a service takes settings from its environment.
func readsVariables(s certs.Service) bool { return s == certs.Etcd }

// addEnvironment takes etcd's settings from the environment that it runs with: of the process,
// or, where that may not be read, of its Docker container. A static pod's manifest takes
// precedence, since a restart will use it.
func (d *discovery) addEnvironment(p *program) {
	if !readsVariables(p.service) || p.component.PID == 0 {
		return
	}
	env, ok := d.processEnvironment(p.component.PID)
	if !ok {
		env, ok = d.dockerEnvironment(p)
	}
	switch {
	case p.component.Runtime == inventory.StaticPod:
		if env == nil {
			env = map[string]string{}
		}
		maps.Copy(env, p.env)
		p.env = env
	case ok:
		p.env = env
	default:
		p.envHidden = p.env == nil // otherwise its unit has them
	}
}

// processEnvironment reads the relevant variables of a process.
func (d *discovery) processEnvironment(pid int) (map[string]string, bool) {
	proc, err := d.root.LocalPath("/proc")
	if err != nil {
		return nil, false
	}
	data := readWhole(processFile(proc, pid, "environ"))
	if len(data) == 0 {
		return nil, false
	}
	env := map[string]string{}
	for assignment := range strings.SplitSeq(string(data), "\x00") {
		keepEtcdVariable(env, assignment)
	}
	return env, true
}

// dockerEnvironment reads them from Docker's configuration of a container.
func (d *discovery) dockerEnvironment(p *program) (map[string]string, bool) {
	c, ok := d.readDocker(dockerDirectory(p.containerID, p.files), p.containerID)
	if !ok {
		return nil, false
	}
	env := map[string]string{}
	for _, assignment := range c.Config.Env {
		keepEtcdVariable(env, assignment)
	}
	return env, true
}

func keepEtcdVariable(env map[string]string, assignment string) {
	if name, value, ok := strings.Cut(assignment, "="); ok && etcdVariables()[name] {
		env[name] = value
	}
}

// unreadPath is the path of a process's settings, for the report of a missing file.
func (p *program) unreadPath() string {
	if p.component.PID == 0 {
		return p.component.Manifest
	}
	return fmt.Sprintf("/proc/%d/environ", p.component.PID)
}
