package layout

import (
	"os"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// microk8sData is the link to the data directory of the snap's revision that runs.
const microk8sData = "/var/snap/microk8s/current"

// refreshedParts maps the files that "microk8s refresh-certs" signs again, with the keys that they
// have, to its names for them: scripts/wrappers/refresh_certs.py of microk8s. It renews all others
// only with a new CA.
var refreshedParts = map[string]string{"certs/server.crt": "server.crt", "certs/front-proxy-client.crt": "front-proxy-client.crt"}

// microk8s is the unit that runs kubelite of MicroK8s. Its components are goroutines of one
// process, which reads their flags from files: cmd/kubelite/app in MicroK8s' patches of Kubernetes.
type microk8s struct {
	d       *discovery
	process inventory.Component // the part that its components have in common
	dir     string              // the data directory
	snap    string              // the directory of its programs
	own     arguments           // of kubelite itself
}

// microk8sOf describes the unit of a process of MicroK8s; nil if no unit of the snap started it.
func (d *discovery) microk8sOf(b bundle) *microk8s {
	if b.name != "kubelite" {
		return nil
	}
	process, loaded := d.componentOfBundle(b)
	proc, err := d.root.LocalPath("/proc")
	if loaded == nil || err != nil || !strings.HasPrefix(process.Unit, "snap.microk8s.") {
		return nil
	}
	argv := parseCmdline(readWhole(processFile(proc, b.pid, "cmdline")))
	if len(argv) == 0 {
		return nil
	}
	process.Note = "runs in the process of MicroK8s, which " + process.Unit + " starts"
	m := &microk8s{d: d, process: process, dir: microk8sData, snap: path.Dir(argv[0]), own: argv[1:]}
	if file := m.own.lastValue("apiserver-args-file"); file != "" && !d.isSamePlace(path.Dir(path.Dir(file)), m.dir) {
		m.dir = path.Dir(path.Dir(file))
	}
	return m
}

// isSamePlace reports whether two paths lead to the same file or directory.
func (d *discovery) isSamePlace(a, b string) bool {
	first, errFirst := d.root.LocalPath(a)
	second, errSecond := d.root.LocalPath(b)
	return errFirst == nil && errSecond == nil && first == second
}

// programs are the components of this node. A worker has no control plane.
func (m *microk8s) programs() []*program {
	out := []*program{}
	if !m.d.fileExists(m.dir + "/args") {
		m.d.notInspectedByDesign("", m.dir, "MicroK8s keeps its certificates here, beside sockets by which an agent could become root, so agents do not see them: use the plugin or, on the node, rotate-certs-node")
		return out
	}
	add := func(s certs.Service, setting string) {
		file := m.own.lastValue(setting)
		if file == "" || m.d.isSamePlace(path.Dir(path.Dir(file)), m.dir) {
			file = m.dir + "/args/" + string(s)
		}
		args, err := m.readArguments(file)
		if err != nil {
			m.d.notInspected(s, file, "read its flags: "+err.Error())
			return
		}
		if strings.HasPrefix(args.lastValue("etcd-servers"), "unix://") {
			args = append(args, "--etcd-servers=") // the socket of its datastore, dqlite, has no certificate
		}
		p := &program{service: s, args: args, component: m.process, distribution: distributionNamed("MicroK8s"), dataDir: m.dir}
		p.component.Service = s
		p.component.Args = redactArgs(p.args)
		out = append(out, p)
	}
	if runs, set := m.own.booleanFlag("start-control-plane"); runs || !set {
		add(certs.KubeAPIServer, "apiserver-args-file")
		add(certs.KubeControllerManager, "controller-manager-args-file")
		add(certs.KubeScheduler, "scheduler-args-file")
	}
	add(certs.KubeProxy, "proxy-args-file")
	add(certs.Kubelet, "kubelet-args-file")
	m.d.admins = append(m.d.admins, m.dir+"/credentials/client.config")
	if file := m.dir + "/var/kubernetes/backend/cluster.crt"; m.d.fileExists(file) {
		m.d.notInspectedByDesign("", file, "all nodes of MicroK8s' datastore (dqlite) have this certificate, which belongs to no component of Kubernetes: neither a rotation nor \"microk8s refresh-certs\" renews it")
	}
	return out
}

// readArguments reads a file of flags as kubelite does: ReadArgsFromFile in cmd/kubelite/app/options
// of its patches. Other variables than those of the snap stay as they are.
func (m *microk8s) readArguments(file string) (arguments, error) {
	data, err := m.d.root.ReadFile(file)
	if err != nil {
		return nil, err
	}
	variables := map[string]string{"SNAP_DATA": m.dir, "SNAP_COMMON": path.Dir(m.dir) + "/common", "SNAP": m.snap}
	expand := func(name string) string {
		if value, known := variables[name]; known {
			return value
		}
		return "${" + name + "}"
	}
	var out arguments
	for line := range strings.Lines(string(data)) {
		line = strings.NewReplacer(`"`, "", "'", "").Replace(strings.TrimSpace(line))
		if strings.HasPrefix(line, "#") {
			continue
		}
		for _, word := range strings.Fields(line) {
			out = append(out, os.Expand(word, expand))
		}
	}
	return out, nil
}

// findRefresher finds the command of MicroK8s that signs certificates again and restarts its unit.
// The unit runs neither the container runtime nor pods.
func (d *discovery) findRefresher(server *program) renewer {
	r := renewer{unit: server.component.Unit, dir: server.dataDir, kind: inventory.RestartCommand, parts: refreshedParts}
	for _, dir := range []string{"/snap/bin", "/var/lib/snapd/snap/bin"} {
		if program := dir + "/microk8s"; d.fileExists(program) {
			r.command = program + " refresh-certs"
			return r
		}
	}
	r.harm = "\"microk8s refresh-certs\" renews this certificate, and the program microk8s was found neither in /snap/bin nor in /var/lib/snapd/snap/bin"
	return r
}
