package layout

import (
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// etcdSettings reads etcd's settings by the names of its flags.
type etcdSettings func(flag string) string

// etcdConfig is what matters of etcd's --config-file.
type etcdConfig struct {
	ListenClientURLs     string       `json:"listen-client-urls"`
	ListenClientHTTPURLs string       `json:"listen-client-http-urls"`
	ListenPeerURLs       string       `json:"listen-peer-urls"`
	ListenMetricsURLs    string       `json:"listen-metrics-urls"`
	Client               etcdSecurity `json:"client-transport-security"`
	Peer                 etcdSecurity `json:"peer-transport-security"`
}

type etcdSecurity struct {
	CertFile       string `json:"cert-file"`
	KeyFile        string `json:"key-file"`
	ClientCertFile string `json:"client-cert-file"`
	ClientKeyFile  string `json:"client-key-file"`
	TrustedCAFile  string `json:"trusted-ca-file"`
}

// etcdSettings evaluates etcd's configuration: a file, which makes etcd ignore all
// else, or flags before ETCD_ variables.
func (d *discovery) etcdSettings(p *program) etcdSettings {
	direct := func(flag string) string {
		if v, set := p.args.lookup(flag); set {
			return v
		}
		return p.env["ETCD_"+strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))]
	}
	file, ok := d.host(p, direct("config-file"))
	if !ok {
		return direct
	}
	var c etcdConfig
	data, err := d.root.ReadFile(file)
	if err == nil {
		err = yaml.Unmarshal(data, &c)
	}
	if err != nil {
		d.notInspected(certs.Etcd, file, "read etcd's configuration: "+err.Error())
	}
	values := map[string]string{
		"listen-client-urls": c.ListenClientURLs, "listen-client-http-urls": c.ListenClientHTTPURLs,
		"listen-peer-urls": c.ListenPeerURLs, "listen-metrics-urls": c.ListenMetricsURLs,
		"cert-file": c.Client.CertFile, "key-file": c.Client.KeyFile,
		"client-cert-file": c.Client.ClientCertFile, "client-key-file": c.Client.ClientKeyFile,
		"trusted-ca-file": c.Client.TrustedCAFile,
		"peer-cert-file":  c.Peer.CertFile, "peer-key-file": c.Peer.KeyFile,
		"peer-client-cert-file": c.Peer.ClientCertFile, "peer-client-key-file": c.Peer.ClientKeyFile,
		"peer-trusted-ca-file": c.Peer.TrustedCAFile,
	}
	return func(flag string) string { return values[flag] }
}

// addEtcd records the member's serving, peer and client certificates.
func (d *discovery) addEtcd(p *program) {
	get := d.etcdSettings(p)
	clients := localURLs(splitList(get("listen-client-urls")))
	peers := splitList(get("listen-peer-urls"))
	metrics := localURLs(splitList(get("listen-metrics-urls")))
	serving := append(splitList(get("listen-client-urls")), splitList(get("listen-client-http-urls"))...)
	serving = append(serving, splitList(get("listen-metrics-urls"))...)

	p.component.ClientURLs = clients
	switch {
	case len(metrics) > 0:
		p.component.Health = metrics[0] + "/health"
	case len(clients) > 0:
		p.component.Health = clients[0] + "/health"
	}
	d.addAuthority(p, get("trusted-ca-file"), "")
	d.addAuthority(p, get("peer-trusted-ca-file"), "")

	server, peer := role{name: "etcd-server"}, role{name: "etcd-peer"}
	if !p.isolated {
		server.served = httpsEndpoints(serving)
		peer.served = httpsEndpoints(peers)
	}
	if len(peer.served) > 0 {
		peer.client = d.etcdClient(p, peer.served[0].Address, get("peer-trusted-ca-file"))
	}
	d.addNamedPair(p, get("cert-file"), get("key-file"), server)
	d.addNamedPair(p, get("peer-cert-file"), get("peer-key-file"), peer)

	client := role{name: "etcd-client"}
	if urls := httpsEndpoints(clients); len(urls) > 0 {
		client.client = d.etcdClient(p, urls[0].Address, get("trusted-ca-file"))
	}
	d.addNamedPair(p, get("client-cert-file"), get("client-key-file"), client)
	d.addNamedPair(p, get("peer-client-cert-file"), get("peer-client-key-file"), role{name: "etcd-peer-client", client: peer.client})

	if get("cert-file") == "" && get("peer-cert-file") == "" {
		p.component.Note = join2(p.component.Note, "names no certificate: it talks without TLS, or with certificates that it makes itself")
	}
}

// etcdClient is a member to prove client certificates against.
func (d *discovery) etcdClient(p *program, address, caFile string) *inventory.Client {
	c := &inventory.Client{Kind: inventory.ToEtcd, Address: address}
	if caFile != "" {
		if ca, err := p.files.host(caFile); err == nil {
			c.CAFile = ca
		}
	}
	return c
}

// EtcdClient is where a client certificate that no flag names, such as kubeadm's
// etcd-healthcheck-client, can be proven: this node's member. Nil without one that
// speaks TLS.
func (l *Layout) EtcdClient() *inventory.Client {
	for _, c := range l.Node.Certificates {
		if c.Name != "etcd-server" || len(c.Served) == 0 {
			continue
		}
		out := &inventory.Client{Kind: inventory.ToEtcd, Address: c.Served[0].Address}
		for _, a := range l.Authorities {
			if a.Services[0] == certs.Etcd {
				out.CAFile = a.Path
				break
			}
		}
		return out
	}
	return nil
}

// join2 puts two remarks into one.
func join2(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
