package layout

import (
	"cmp"
	"net/url"
	"path"
	"slices"
	"strconv"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/settings"
)

// addEtcd records the member's serving, peer and client certificates.
func (d *discovery) addEtcd(p *program) {
	d.addEnvironment(p)
	get, complete := d.etcdSettingsOf(p)
	clients := localURLs(splitList(get("listen-client-urls")))
	peers := splitList(get("listen-peer-urls"))
	metrics := localURLs(splitList(get("listen-metrics-urls")))
	overHTTP := localURLs(splitList(get("listen-client-http-urls"))) // the client URLs speak gRPC only beside these
	serving := slices.Concat(splitList(get("listen-client-urls")), splitList(get("listen-client-http-urls")), splitList(get("listen-metrics-urls")))

	p.component.ClientURLs = clients
	if p.isolated {
		// Addresses of its own network are not reachable from the node; the advertised ones may
		// be.
		p.component.ClientURLs = splitList(get("advertise-client-urls"))
	}
	switch {
	case p.isolated:
	case len(metrics) > 0:
		p.component.Health = metrics[0] + "/health"
	case len(overHTTP) > 0:
		p.component.Health = overHTTP[0] + "/health"
	case len(clients) > 0:
		p.component.Health = clients[0] + "/health"
	}
	p.component.DataDirectories = dataDirectories(p, get)
	p.component.DBQuotaBytes, _ = strconv.ParseInt(get("quota-backend-bytes"), 10, 64) // none: etcd's default

	places := d.etcdPlaces(p, get, clients, serving, peers)
	d.addSettings(p, get.allValues, places)
	d.addSelfMadeEtcd(p, get, "auto-tls", "cert-file", "client", role{name: "etcd-server", served: places[settings.Served].served})
	d.addSelfMadeEtcd(p, get, "peer-auto-tls", "peer-cert-file", "peer", role{name: "etcd-peer", served: places[settings.ServedPeers].served})
	d.noteEtcdWithoutCerts(p, get, complete, slices.Concat(serving, peers))
}

// etcdPlaces holds the endpoints where certificates of a member can be verified.
func (d *discovery) etcdPlaces(p *program, get etcdSettings, clients, serving, peers []string) map[settings.Verification]verificationPlace {
	var client, peer verificationPlace
	if !p.isolated {
		client.served = httpsEndpoints(serving)
		peer.served = httpsEndpoints(peers)
	}
	if len(peer.served) > 0 {
		peer.client = d.etcdClient(p, peer.served[0].Address, get("peer-trusted-ca-file"))
	}
	out := map[settings.Verification]verificationPlace{
		settings.Served: client, settings.ServedPeers: peer, settings.EtcdPeer: {client: peer.client},
	}
	if urls := httpsEndpoints(clients); len(urls) > 0 {
		out[settings.EtcdMember] = verificationPlace{client: d.etcdClient(p, urls[0].Address, get("trusted-ca-file"))}
	}
	return out
}

// addSelfMadeEtcd records a pair that etcd makes: in DATA-DIR/fixtures, at a start that finds
// no pair there, and only if none is named (embed.Config.ClientSelfCert and PeerSelfCert;
// client/pkg/transport.SelfCert). An existing pair is used again, also after its expiry.
func (d *discovery) addSelfMadeEtcd(p *program, get etcdSettings, flag, named, kind string, r role) {
	if !get.isEnabled(flag) || get(named) != "" {
		return
	}
	dir := path.Join(dataDirectory(get), "fixtures", kind)
	cert, ok := d.hostPath(p, path.Join(dir, "cert.pem"))
	if !ok {
		return
	}
	if _, err := d.root.Stat(cert); err != nil {
		d.notInspected(certs.Etcd, cert, "--"+flag+" is on, but etcd has not made this certificate: "+err.Error())
		return
	}
	r.issuer = inventory.Issuer{Kind: inventory.NoIssuer}
	r.leftReason = "made by etcd itself (--" + flag + "), which uses it again at every start, even after its expiry; " +
		"to have another made, stop etcd, remove cert.pem and key.pem in " + path.Dir(cert) + ", and start it"
	d.addPair(p.service, cert, path.Join(path.Dir(cert), "key.pem"), r)
}

// dataDirectory is where a member keeps its data, as the member sees it: --data-dir, or
// NAME.etcd in its working directory.
func dataDirectory(get etcdSettings) string {
	if data := get("data-dir"); data != "" {
		return data
	}
	name := cmp.Or(get("name"), "default")
	return name + ".etcd"
}

// dataDirectories are the host's directories with a member's data; none where one of them is
// not on the host.
func dataDirectories(p *program, get etcdSettings) []string {
	var out []string
	for _, directory := range []string{dataDirectory(get), get("wal-dir")} {
		if directory == "" {
			continue
		}
		host, err := p.files.hostPath(directory)
		if err != nil {
			return nil
		}
		out = append(out, host)
	}
	return out
}

// noteEtcdWithoutCerts adds a note if no certificate was found. It says that there is none only
// if every URL of the member is without TLS.
func (d *discovery) noteEtcdWithoutCerts(p *program, get etcdSettings, complete bool, urls []string) {
	if get("cert-file") != "" || get("peer-cert-file") != "" || get.isEnabled("auto-tls") || get.isEnabled("peer-auto-tls") {
		return
	}
	plain := len(urls) > 0 && !slices.ContainsFunc(urls, func(raw string) bool {
		u, err := url.Parse(raw)
		return err != nil || u.Scheme != "http" && u.Scheme != "unix"
	})
	switch {
	case plain:
		p.component.Note = joinNotes(p.component.Note, "names no certificate: it talks without TLS")
	case len(urls) == 0 && complete:
		p.component.Note = joinNotes(p.component.Note, "names no certificate and no URLs: etcd's defaults are without TLS")
	case !complete:
		d.notInspected(certs.Etcd, p.unreadPath(), "no certificate was found, and not all of etcd's settings could be read")
	default:
		d.notInspected(certs.Etcd, p.unreadPath(), "etcd serves TLS, but none of its settings that were found names a certificate")
	}
}

// etcdClient returns a member to verify client certificates with.
func (d *discovery) etcdClient(p *program, address, caFile string) *inventory.Client {
	c := &inventory.Client{Kind: inventory.ToEtcd, Address: address}
	if caFile != "" {
		if ca, err := p.files.hostPath(caFile); err == nil {
			c.CAFile = ca
		}
	}
	return c
}

// EtcdClient is the server for a client certificate that no flag names, such as kubeadm's
// etcd-healthcheck-client: this node's member. Nil if there is no member with TLS.
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

// joinNotes puts two notes into one.
func joinNotes(a, b string) string {
	if a == "" {
		return b
	}
	return a + "; " + b
}
