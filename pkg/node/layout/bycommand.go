package layout

import (
	"cmp"
	"path"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// commandParts maps the files that "rke2 certificate rotate" and "k3s certificate rotate" remove
// to the names of its --service: pkg/util/services/services.go of k3s, which RKE2 uses too. The
// next start of the unit makes them again with new keys. The paths are relative to the data
// directory. A server signs what is below its server's directory with keys that lie there, and
// an agent has those below the agent's directory signed by a server.
var commandParts = map[string]string{
	serverTLS + "client-admin.crt":            "admin",
	serverTLS + "client-kube-apiserver.crt":   "api-server",
	serverTLS + "serving-kube-apiserver.crt":  "api-server",
	serverTLS + "client-auth-proxy.crt":       "auth-proxy",
	serverTLS + "client-controller.crt":       "controller-manager",
	serverTLS + "client-scheduler.crt":        "scheduler",
	serverTLS + "etcd/client.crt":             "etcd",
	serverTLS + "etcd/server-client.crt":      "etcd",
	serverTLS + "etcd/peer-server-client.crt": "etcd",
	"agent/client-kubelet.crt":                "kubelet",
	"agent/serving-kubelet.crt":               "kubelet",
	"agent/client-kube-proxy.crt":             "kube-proxy",
}

const serverTLS = "server/tls/"

// SignedByServer reports whether RKE2 or K3s signs a certificate, by its path, on this node.
func SignedByServer(cert string) bool { return strings.Contains(cert, "/"+serverTLS) }

// findCommander finds the unit of RKE2 or K3s whose certificates a command renews while it is
// stopped. Its program is the one that the unit's file starts. A server may run no kubelet; there
// are no pods then that its stop could end.
func (d *discovery) findCommander(supervised map[certs.Service]*program) renewer {
	at := slices.IndexFunc(certs.Services(), func(s certs.Service) bool {
		p := supervised[s]
		return p != nil && p.distribution.renewal == inventory.UnitCommand
	})
	if at < 0 {
		return renewer{}
	}
	first := supervised[certs.Services()[at]]
	dist := first.distribution
	r := renewer{unit: first.component.Unit, dir: dist.dir, kind: inventory.UnitCommand, parts: commandParts}
	loaded, _ := d.loadedUnit(r.unit)
	if loaded == nil {
		r.harm = killsPods(nil, dist, r.unit)
		return r
	}
	if supervised[certs.Kubelet] != nil {
		r.harm = killsPods(loaded, dist, r.unit)
	}
	found, ok := d.rancherProgram(loaded, dist)
	if !ok {
		r.harm = cmp.Or(r.harm, r.unit+" does not start "+dist.programs[0]+" itself, so the path of its command is unknown")
		return r
	}
	r.dir = found.dir
	r.backups = found.dir + "/" + found.role
	r.command = found.path + " certificate rotate --data-dir=" + r.dir
	if !path.IsAbs(found.path) || strings.ContainsAny(found.path+r.dir, " \t\n$") {
		r.harm = "the path of its program or of its data in " + r.unit + " is relative or has blanks or \"$\", so its command cannot be run"
	}
	return r
}

// tieStaticPods records the unit of the distribution that writes the manifests of the static
// pods and starts their kubelet.
func (d *discovery) tieStaticPods(programs []*program) {
	unit := ""
	for _, p := range programs {
		if p.service == certs.Kubelet && p.distribution != nil && p.distribution.staticPods {
			unit = p.component.Unit
		}
	}
	for _, p := range programs {
		if p.component.Runtime == inventory.StaticPod {
			p.component.Unit = unit
		}
	}
}
