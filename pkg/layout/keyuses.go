package layout

import (
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// addKeyUse records a file with keys that a component uses for something other than a
// certificate. value is the path as the component names it; "" is no use.
func (d *discovery) addKeyUse(p *program, kind inventory.KeyUseKind, setting, value string) {
	file, ok := d.host(p, value)
	if !ok {
		return
	}
	d.out.KeyUses = append(d.out.KeyUses, inventory.KeyUse{Kind: kind, Service: p.service, Setting: setting, Path: file})
}

// addServiceAccountKeys records the keys that an API server signs and verifies
// ServiceAccount tokens with.
func (d *discovery) addServiceAccountKeys(p *program) {
	const verify, sign, endpoint = "service-account-key-file", "service-account-signing-key-file", "service-account-signing-endpoint"
	files := p.args.values(verify)
	for _, file := range files {
		d.addKeyUse(p, inventory.ServiceAccountKey, "--"+verify, file)
	}
	d.addKeyUse(p, inventory.ServiceAccountKey, "--"+sign, p.args.value(sign))
	// Up to 1.30 (pkg/controlplane/apiserver/options, Complete) an API server that is given
	// none of them verifies tokens with its TLS key. Later ones do not start so.
	if tls := p.args.value("tls-private-key-file"); len(files) == 0 && p.args.value(sign) == "" && p.args.value(endpoint) == "" {
		d.addKeyUse(p, inventory.ServiceAccountKey, "--tls-private-key-file, in place of --"+verify, tls)
	}
}
