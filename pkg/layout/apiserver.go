package layout

import (
	"path"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

const defaultAPIServerPort = "6443"

// apiServerAddress is where an API server can be asked from its own node.
func (p *program) apiServerAddress() string {
	port := p.args.value("secure-port")
	if port == "" {
		port = defaultAPIServerPort
	}
	return join(local(p.args.value("bind-address")), port)
}

// advertised is the address by which other nodes know an API server.
func (p *program) advertised() string {
	host := p.args.value("advertise-address")
	if host == "" {
		return p.apiServerAddress()
	}
	port := p.args.value("secure-port")
	if port == "" {
		port = defaultAPIServerPort
	}
	return join(host, port)
}

// addAPIServer records the API server's serving and client certificates.
func (d *discovery) addAPIServer(p *program) {
	address := p.apiServerAddress()
	p.component.APIServer = p.advertised()
	p.component.ClientURLs = p.args.list("etcd-servers")
	if !p.isolated {
		p.component.Health = "https://" + address + "/readyz"
	}
	for _, flag := range []string{"client-ca-file", "requestheader-client-ca-file", "etcd-cafile", "kubelet-certificate-authority"} {
		d.addAuthority(p, p.args.value(flag), "")
	}

	serving := role{name: "apiserver"}
	if !p.isolated {
		serving.served = []inventory.Served{{Address: address}}
	}
	if p.args.value("tls-cert-file") != "" {
		d.addNamedPair(p, p.args.value("tls-cert-file"), p.args.value("tls-private-key-file"), serving)
	} else {
		d.addSelfMade(p, serving)
	}
	d.addSNI(p, address)
	d.addServiceAccountKeys(p)

	d.addNamedPair(p, p.args.value("etcd-certfile"), p.args.value("etcd-keyfile"), role{
		name: "apiserver-etcd-client", client: d.etcdOf(p),
	})
	d.addNamedPair(p, p.args.value("kubelet-client-certificate"), p.args.value("kubelet-client-key"), role{
		name: "apiserver-kubelet-client", client: d.kubeletOf(p),
	})
	d.addNamedPair(p, p.args.value("proxy-client-cert-file"), p.args.value("proxy-client-key-file"), role{
		name: "front-proxy-client",
		// Which CA signed the server's own certificate, package scan finds out.
		client: &inventory.Client{Kind: inventory.ToAPIServerAsProxy, Address: address},
	})
	// Webhooks' kubeconfigs may hold client certificates for other servers.
	for _, flag := range []string{"authentication-token-webhook-config-file", "authorization-webhook-config-file", "audit-webhook-config-file"} {
		if conf := p.args.value(flag); conf != "" {
			if user, _ := d.kubeconfigUser(p, conf); user != nil {
				d.addUser(p, conf, user, role{name: path.Base(conf)})
			}
		}
	}
}

// addSelfMade records the serving pair that an API server without --tls-cert-file
// makes at its first start, where it keeps it on the host.
func (d *discovery) addSelfMade(p *program, r role) {
	dir := p.args.value("cert-dir")
	if dir == "" {
		dir = "/var/run/kubernetes"
	}
	cert, err := p.files.host(path.Join(dir, "apiserver.crt"))
	if err == nil {
		_, err = d.root.Stat(cert)
	}
	if err != nil {
		p.component.Note = join2(p.component.Note, "serves a certificate that it makes itself at each start")
		return
	}
	r.issuer = inventory.Issuer{Kind: inventory.Throwaway}
	d.addPair(p.service, cert, strings.TrimSuffix(cert, ".crt")+".key", r)
}

// addSNI records the pairs that are served for other names:
// --tls-sni-cert-key=cert,key[:name,…], repeated.
func (d *discovery) addSNI(p *program, address string) {
	for _, value := range p.args.values("tls-sni-cert-key") {
		pair, names, _ := strings.Cut(value, ":")
		cert, key, ok := strings.Cut(pair, ",")
		if !ok {
			d.notInspected(certs.KubeAPIServer, "", "--tls-sni-cert-key names no pair of files")
			continue
		}
		r := role{name: "apiserver-sni"}
		for _, n := range splitList(names) {
			if !p.isolated && !strings.HasPrefix(n, "*") {
				r.served = append(r.served, inventory.Served{Address: address, ServerName: n})
			}
		}
		d.addNamedPair(p, cert, key, r)
	}
}

// etcdOf is the etcd endpoint to prove the API server's client certificate against:
// this node's where it uses one, else the first.
func (d *discovery) etcdOf(p *program) *inventory.Client {
	var chosen string
	for _, u := range p.args.list("etcd-servers") {
		if address := hostPort(u); address != "" && (chosen == "" || isLoopback(address) && !isLoopback(chosen)) {
			chosen = address
		}
	}
	if chosen == "" {
		return nil
	}
	return d.etcdClient(p, chosen, p.args.value("etcd-cafile"))
}

// kubeletOf is this node's kubelet, as the API server would ask it.
func (d *discovery) kubeletOf(p *program) *inventory.Client {
	address := d.kubeletAddress()
	if address == "" {
		return nil
	}
	c := &inventory.Client{Kind: inventory.ToKubelet, Address: address}
	if ca := p.args.value("kubelet-certificate-authority"); ca != "" {
		if host, err := p.files.host(ca); err == nil {
			c.CAFile = host
		}
	}
	return c
}
