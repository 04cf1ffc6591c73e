package layout

import (
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// addKeyUse records a file with keys that a component has another use for than a certificate.
// value is the path as the component names it; "" is no use.
func (d *discovery) addKeyUse(p *program, kind inventory.KeyUseKind, setting, value string) {
	file, ok := d.hostPath(p, value)
	if !ok {
		return
	}
	d.out.KeyUses = append(d.out.KeyUses, inventory.KeyUse{Kind: kind, Service: p.service, Setting: setting, Path: file})
}

// addDefaultTokenKey records that an API server which is given no key of ServiceAccount
// tokens verifies them with its TLS key. It does up to Kubernetes 1.30
// (pkg/controlplane/apiserver/options, Complete); later ones do not start so.
func (d *discovery) addDefaultTokenKey(p *program) {
	for _, flag := range []string{"service-account-key-file", "service-account-signing-key-file", "service-account-signing-endpoint"} {
		if p.args.lastValue(flag) != "" {
			return
		}
	}
	d.addKeyUse(p, inventory.ServiceAccountKey, "--tls-private-key-file, in place of --service-account-key-file", p.args.lastValue("tls-private-key-file"))
}
