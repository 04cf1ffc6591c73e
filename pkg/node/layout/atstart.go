package layout

import (
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
var madeAtStart = []string{
	"pki/server.crt", "pki/apiserver-kubelet-client.crt", "pki/apiserver-etcd-client.crt", "pki/front-proxy-client.crt",
	"pki/etcd/server.crt", "pki/etcd/peer.crt",
	"pki/admin.conf", "pki/ccm.conf", "pki/scheduler.conf",
}

// authoritiesAtStart are the names of the CAs that k0s makes. Every version since 1.21 renews
// their certificates. Certificates of a CA with another name are renewed only by newer
// versions: pkg/certificate/manager.go of k0s, isManagedByK0s.
var authoritiesAtStart = []string{"kubernetes-ca", "kubernetes-front-proxy-ca", "etcd-ca"}

// RenewedAtStart reports whether every version of k0s renews a certificate at its start, by the
// common name of the certificate's issuer.
func RenewedAtStart(issuer string) bool { return slices.Contains(authoritiesAtStart, issuer) }

// starter is a unit whose start renews certificates. The zero value is none.
type starter struct {
	unit string
	dir  string // the data directory
	harm string // why the unit must not be restarted; empty: it may
}

// makesAgain reports whether a start of the unit makes this certificate again.
func (s starter) makesAgain(c *inventory.Certificate) bool {
	file, ok := strings.CutPrefix(c.Store.Cert, s.dir+"/")
	if !ok || s.unit == "" || !slices.Contains(madeAtStart, file) {
		return false
	}
	// Another key beside the certificate was not made by k0s.
	return c.Store.Kind == inventory.Kubeconfig || c.Store.Key == strings.TrimSuffix(c.Store.Cert, ".crt")+".key"
}

// findStarter finds the unit that runs "k0s controller". A worker's unit renews nothing at
// its start: its kubelet has its certificates signed through the API.
func (d *discovery) findStarter(supervised map[certs.Service]*program) starter {
	for _, service := range []certs.Service{certs.KubeAPIServer, certs.Etcd} {
		p := supervised[service]
		if p == nil || !p.distribution.atStart {
			continue
		}
		loaded, _ := loadUnit(d.root, p.component.Unit)
		for _, argv := range d.commandsOf(loaded, d.members[p.component.Unit]) {
			if distributionOf(argv) != p.distribution || !slices.Contains(argv[1:], "controller") {
				continue
			}
			s := starter{unit: p.component.Unit, dir: p.distribution.dir}
			if dir := arguments(argv[1:]).lastValue("data-dir"); dir != "" {
				s.dir = path.Clean(dir)
			}
			if kubelet := supervised[certs.Kubelet]; kubelet != nil && kubelet.component.Unit == s.unit {
				s.harm = killsPods(loaded, s.unit)
			}
			return s
		}
	}
	return starter{}
}

// killsPods returns the reason why a restart of a unit that runs a kubelet and its container
// runtime would end the node's pods; empty: it would not. "k0s install" writes
// KillMode=process.
func killsPods(u *unit, name string) string {
	switch {
	case u == nil:
		return fmt.Sprintf("k0s renews this certificate when %s is restarted, and whether that ends the node's pods is unknown, since its unit file was not found", name)
	case u.killMode != "process" && u.killMode != "none":
		return fmt.Sprintf("k0s renews this certificate when %s is restarted, and that would end the node's pods: set KillMode=process in the unit, as \"k0s install\" does", name)
	}
	return ""
}

// reasonFor returns the reason why a certificate is left to the distribution.
func (d *distribution) reasonFor(c *inventory.Certificate, unit string) string {
	switch {
	case !d.atStart:
		return d.leftReason(unit)
	case c.Service == certs.Kubelet:
		return fmt.Sprintf("%s leaves this certificate to the kubelet, which renews it before it expires", d.name)
	case unit == "":
		unit = d.unit
	}
	return fmt.Sprintf("%s starts the component that uses this certificate and does not make it: replace it by hand, then restart %s", d.name, unit)
}
