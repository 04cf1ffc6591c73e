package layout

import (
	"cmp"
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

const defaultAPIServerPort = "6443"

// apiServerAddress is the address of an API server as seen from its own node.
func (p *program) apiServerAddress() string {
	port := cmp.Or(p.args.lastValue("secure-port"), defaultAPIServerPort)
	return joinHostPort(localAddress(p.args.lastValue("bind-address")), port)
}

// advertisedAddress is the address by which other nodes reach an API server.
func (p *program) advertisedAddress() string {
	host := p.args.lastValue("advertise-address")
	if host == "" {
		return p.apiServerAddress()
	}
	port := cmp.Or(p.args.lastValue("secure-port"), defaultAPIServerPort)
	return joinHostPort(host, port)
}

// addAPIServer records the API server's serving and client certificates.
func (d *discovery) addAPIServer(p *program) {
	address := p.apiServerAddress()
	p.component.APIServer = p.advertisedAddress()
	p.advertiseSupervisor()
	p.component.ClientURLs = p.args.listValue("etcd-servers")
	if !p.isolated {
		p.component.Health = "https://" + address + "/readyz"
	}
	var serving verificationPlace
	if !p.isolated {
		serving.served = []inventory.Served{{Address: address}}
		d.addInMemory(p.service, LoopbackName, address, LoopbackName)
	}
	if p.args.lastValue("tls-cert-file") == "" {
		d.addSelfMade(p, "apiserver", "/var/run/kubernetes", role{name: "apiserver", served: serving.served})
	}
	d.addSettings(p, p.args.allValues, map[settings.Verification]verificationPlace{
		settings.Served:      serving,
		settings.EtcdMember:  {client: d.etcdOf(p)},
		settings.NodeKubelet: {client: d.kubeletOf(p)},
		// Package scan determines the CA of the server's own certificate.
		settings.FrontProxy: {client: &inventory.Client{Kind: inventory.ToAPIServerAsProxy, Address: address}},
	})
	d.addDefaultTokenKey(p)
	d.addConfigurations(p)
}

// addInMemory records an endpoint with a certificate that only the component has.
func (d *discovery) addInMemory(s certs.Service, name, address, serverName string) {
	d.out.InMemory = append(d.out.InMemory, inventory.InMemory{Service: s, Name: name, Address: address, ServerName: serverName})
}

// addSelfMade records the serving pair that a component without --tls-cert-file makes at
// its first start and uses again at the next, where it keeps it on the host: in --cert-dir.
func (d *discovery) addSelfMade(p *program, pair, defaultDir string, r role) {
	dir := cmp.Or(p.args.lastValue("cert-dir"), defaultDir)
	cert, err := p.files.hostPath(path.Join(dir, pair+".crt"))
	if err == nil {
		_, err = d.root.Stat(cert)
	}
	if dir == "" || err != nil {
		for _, s := range r.served {
			d.addInMemory(p.service, r.name, s.Address, s.ServerName)
		}
		if p.service == certs.KubeAPIServer {
			p.component.Note = joinNotes(p.component.Note, "serves a certificate that it makes itself at each start")
		}
		return
	}
	r.issuer = inventory.Issuer{Kind: inventory.Throwaway}
	d.addPair(p.service, cert, strings.TrimSuffix(cert, ".crt")+".key", r)
}

// etcdOf returns the etcd endpoint to verify the API server's client certificate with: that of
// this node if it uses one, otherwise the first.
func (d *discovery) etcdOf(p *program) *inventory.Client {
	var chosen string
	for _, u := range p.args.listValue("etcd-servers") {
		if address := hostPort(u); address != "" && (chosen == "" || isLoopback(address) && !isLoopback(chosen)) {
			chosen = address
		}
	}
	if chosen == "" {
		return nil
	}
	return d.etcdClient(p, chosen, p.args.lastValue("etcd-cafile"))
}

// kubeletOf returns the address of this node's kubelet, as the API server uses it.
func (d *discovery) kubeletOf(p *program) *inventory.Client {
	address := d.kubeletAddress()
	if address == "" {
		return nil
	}
	c := &inventory.Client{Kind: inventory.ToKubelet, Address: address}
	if ca := p.args.lastValue("kubelet-certificate-authority"); ca != "" {
		if host, err := p.files.hostPath(ca); err == nil {
			c.CAFile = host
		}
	}
	return c
}
