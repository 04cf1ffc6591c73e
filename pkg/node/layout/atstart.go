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

// madeAtStart lists the certificates that k0s makes again, with a new key, at every start of
// "k0s controller": cmd/controller/certificates.go and pkg/node/component/controller/etcd.go of
// k0s. The paths are relative to its data directory.
var madeAtStart = partsOf(
	"pki/server.crt", "pki/apiserver-kubelet-client.crt", "pki/apiserver-etcd-client.crt", "pki/front-proxy-client.crt",
	"pki/etcd/server.crt", "pki/etcd/peer.crt",
	"pki/admin.conf", "pki/ccm.conf", "pki/scheduler.conf",
)

// partsOf maps files that are renewed together to the name of their part, which is empty.
func partsOf(files ...string) map[string]string {
	out := map[string]string{}
	for _, file := range files {
		out[file] = ""
	}
	return out
}

// authoritiesAtStart are the names of the CAs that k0s makes. Every version since 1.21 renews
// their certificates. Certificates of a CA with another name are renewed only by newer
// versions: pkg/certificate/manager.go of k0s, isManagedByK0s.
var authoritiesAtStart = []string{"kubernetes-ca", "kubernetes-front-proxy-ca", "etcd-ca"}

// RenewedAtStart reports whether every version of k0s renews a certificate at its start, by the
// common name of the certificate's issuer.
func RenewedAtStart(issuer string) bool { return slices.Contains(authoritiesAtStart, issuer) }

// renewer is a unit whose program renews certificates when it starts, or for which a command does.
// The zero value is none.
type renewer struct {
	unit    string
	dir     string            // the data directory
	parts   map[string]string // the files below it that are renewed, and the command's names for them
	harm    string            // why the unit must not be restarted; empty: it may
	kind    inventory.IssuerKind
	command string // see inventory.Issuer
	backups string
}

// issuerOf returns the issuer of a certificate that the unit renews; false if it does not.
func (r renewer) issuerOf(c *inventory.Certificate) (inventory.Issuer, bool) {
	file, ok := strings.CutPrefix(c.Store.Cert, r.dir+"/")
	if !ok || r.unit == "" {
		return inventory.Issuer{}, false
	}
	part, ok := r.parts[file]
	issuer := inventory.Issuer{Kind: r.kind, Unit: r.unit, Command: r.command, Backups: r.backups, Part: part}
	// Another key beside the certificate was not made by the distribution.
	ownKey := c.Store.Kind == inventory.Kubeconfig || c.Store.Key == strings.TrimSuffix(c.Store.Cert, ".crt")+".key"
	return issuer, ok && ownKey
}

// findRenewer finds the unit that renews certificates on this node: of "k0s controller", of
// MicroK8s, or of RKE2 or K3s. The unit of a worker of k0s renews nothing: its kubelet has its certificates
// signed through the API.
func (d *discovery) findRenewer(supervised map[certs.Service]*program) renewer {
	for _, service := range []certs.Service{certs.KubeAPIServer, certs.Etcd} {
		p := supervised[service]
		if p == nil || p.distribution.renewal != inventory.UnitStart {
			continue
		}
		loaded, _ := d.loadedUnit(p.component.Unit)
		for _, argv := range d.commandsOf(loaded, d.members[p.component.Unit]) {
			if distributionOf(argv) != p.distribution || !slices.Contains(argv[1:], "controller") {
				continue
			}
			s := renewer{unit: p.component.Unit, dir: p.distribution.dir, kind: inventory.UnitStart, parts: madeAtStart}
			if dir := arguments(argv[1:]).lastValue("data-dir"); dir != "" {
				s.dir = path.Clean(dir)
			}
			if kubelet := supervised[certs.Kubelet]; kubelet != nil && kubelet.component.Unit == s.unit {
				s.harm = killsPods(loaded, p.distribution, s.unit)
			}
			return s
		}
	}
	if p := supervised[certs.KubeAPIServer]; p != nil && p.distribution.renewal == inventory.RestartCommand {
		return d.findRefresher(p)
	}
	return d.findCommander(supervised)
}

// killsPods returns the reason why a restart of a unit that runs a kubelet and its container
// runtime would end the node's pods; empty: it would not. The distributions install their units
// with KillMode=process.
func killsPods(u *unit, dist *distribution, name string) string {
	switch {
	case u == nil:
		return fmt.Sprintf("%s renews this certificate when %s is restarted, and whether that ends the node's pods is unknown, since its unit file was not found", dist.name, name)
	case u.killMode != "process" && u.killMode != "none":
		return fmt.Sprintf("%s renews this certificate when %s is restarted, and that would end the node's pods: set KillMode=process in the unit, as %s installs it", dist.name, name, dist.name)
	}
	return ""
}

// reasonFor returns the reason why a certificate is left to the distribution. unit is the one that
// runs its components, empty where none runs.
func (d *distribution) reasonFor(c *inventory.Certificate, unit string, supervised map[certs.Service]*program) string {
	byCommand := d.renewal == inventory.UnitCommand
	switch {
	case d.renewal == inventory.RestartCommand && c.Issuer.Kind == inventory.Throwaway:
		return fmt.Sprintf("\"microk8s refresh-certs\" renews this certificate only together with its CA; if the kubelet made it (issuer NAME-ca@TIME), delete it and its key and restart %s: the kubelet makes a new one", cmp.Or(unit, d.unit))
	case d.renewal == inventory.RestartCommand && supervised[certs.KubeAPIServer] == nil:
		return "a worker of MicroK8s gets this certificate when it joins: take the node out of the cluster with \"microk8s leave\", and let it join again"
	case d.renewal == inventory.RestartCommand:
		return "\"microk8s refresh-certs\" renews this certificate only together with its CA, and then the other nodes have to join again"
	case byCommand && unit == "" && commandParts[strings.TrimPrefix(c.Store.Cert, d.dir+"/")] != "":
		return fmt.Sprintf("%q renews this certificate while the unit of %s is stopped, but no running one was found: start %s", d.programs[0]+" certificate rotate", d.name, d.unit)
	case byCommand && c.Issuer.Kind == inventory.Throwaway:
		return fmt.Sprintf("its component made it, and %q does not renew it: delete it and its key while %s is stopped, and the component makes a new one", d.programs[0]+" certificate rotate", cmp.Or(unit, d.unit))
	case byCommand:
		return fmt.Sprintf("%q does not renew this certificate: replace it by hand, then restart %s", d.programs[0]+" certificate rotate", cmp.Or(unit, d.unit))
	case c.Service == certs.Kubelet:
		return fmt.Sprintf("%s leaves this certificate to the kubelet, which renews it before it expires", d.name)
	case unit == "":
		unit = d.unit
	}
	return fmt.Sprintf("%s starts the component that uses this certificate and does not make it: replace it by hand, then restart %s", d.name, unit)
}
