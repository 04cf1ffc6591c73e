package layout

import (
	"net"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// NoSuchName is a server name that no certificate is for: a server that is asked for it
// shows its default certificate, also at an address that has one of its own.
const NoSuchName = "rotate-certs.invalid"

// sniPair is a value of --tls-sni-cert-key: "cert,key[:name,…]".
type sniPair struct {
	cert, key string
	explicit  []string // names that the flag gives
	implicit  []string // those of the certificate, where the flag gives none
}

// addSNI records the pairs that are served for other names than the default's, each with
// an endpoint for every name by which it can be asked. Which pair has a name follows
// k8s.io/apiserver/pkg/server/dynamiccertificates/named_certificates.go: a name in a flag
// before one in a certificate, an earlier pair before a later one.
func (d *discovery) addSNI(p *program, name string, values []string, served []inventory.Served) {
	var pairs []sniPair
	for _, value := range values {
		pair, ok := d.parseSNI(p, value)
		if !ok {
			d.notInspected(p.service, "", "--tls-sni-cert-key names no pair of files")
			continue
		}
		pairs = append(pairs, pair)
	}
	// The server's own client uses this name, and its pair comes first.
	taken := []string{LoopbackName}
	own := make([][]string, len(pairs))
	claim := func(names func(sniPair) []string) {
		for i, pair := range pairs {
			for _, n := range names(pair) {
				if !slices.Contains(taken, n) {
					taken = append(taken, n)
					own[i] = append(own[i], n)
				}
			}
		}
	}
	claim(func(pair sniPair) []string { return pair.explicit })
	claim(func(pair sniPair) []string { return pair.implicit })
	for i, pair := range pairs {
		r := role{name: name}
		for _, s := range served {
			r.served = append(r.served, d.askFor(p, own[i], taken, s.Address)...)
		}
		d.addNamedPair(p, pair.cert, pair.key, r)
	}
	d.askForDefault(p, taken, served)
}

// domain matches the DNS names of Kubernetes (IsDNS1123Subdomain in
// k8s.io/apimachinery/pkg/util/validation): the API server uses no other common name.
var domain = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$`)
})

// parseSNI reads a value of the flag, and the certificate's names where it gives none.
func (d *discovery) parseSNI(p *program, value string) (sniPair, bool) {
	files, names, explicit := strings.Cut(value, ":")
	cert, key, ok := strings.Cut(files, ",")
	pair := sniPair{cert: strings.TrimSpace(cert), key: strings.TrimSpace(key), explicit: splitList(names)}
	if explicit || !ok {
		return pair, ok
	}
	file, err := p.files.hostPath(pair.cert)
	if err != nil {
		return pair, true
	}
	data, err := d.root.ReadFile(file)
	if err != nil {
		return pair, true // that is the certificate's status
	}
	if chain, err := certs.ParsePEM(data); err == nil {
		// IP addresses in it are no server names, and neither is a common name that is one.
		pair.implicit = slices.Clone(chain[0].DNSNames)
		if cn := chain[0].Subject.CommonName; net.ParseIP(cn) == nil && (cn == "*" || domain().MatchString(strings.TrimPrefix(cn, "*."))) {
			pair.implicit = append(pair.implicit, cn)
		}
	}
	return pair, true
}

// askFor returns the endpoints at which a server serves the pair of some names. taken are the
// names of all pairs.
func (d *discovery) askFor(p *program, names, taken []string, address string) (out []inventory.Served) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil
	}
	wildcard := ""
	for _, n := range names {
		switch ip := net.ParseIP(n); {
		case ip != nil:
			// Clients send no name for an IP address: the server goes by the address that
			// was dialled, as it is written here. Elsewhere another machine would answer.
			if n == ip.String() && d.localIP(ip) && (n == host || listensEverywhere(p.args.lastValue("bind-address"))) {
				out = append(out, inventory.Served{Address: joinHostPort(n, port)})
			}
		case strings.HasPrefix(n, "*."):
			wildcard = n
		case n == strings.ToLower(n) && !strings.Contains(n, "*") && !strings.HasSuffix(n, "."):
			out = append(out, inventory.Served{Address: address, ServerName: n})
		}
	}
	if example := strings.Replace(wildcard, "*", "rotate-certs", 1); len(out) == 0 && wildcard != "" && !slices.Contains(taken, example) {
		out = append(out, inventory.Served{Address: address, ServerName: strings.ToLower(example)})
	}
	return out
}

// askForDefault requests the default certificate by a name that does not exist, if its address
// has a pair of its own.
func (d *discovery) askForDefault(p *program, taken []string, served []inventory.Served) {
	for i := range d.out.Node.Certificates {
		c := &d.out.Node.Certificates[i]
		if c.Service != p.service && !slices.Contains(c.UsedBy, p.service) {
			continue
		}
		for j := range c.Served {
			s := &c.Served[j]
			host, _, err := net.SplitHostPort(s.Address)
			if err == nil && s.ServerName == "" && slices.Contains(taken, host) && slices.Contains(served, *s) && !sniName(c.Name) {
				s.ServerName = NoSuchName
			}
		}
	}
}

func sniName(name string) bool { return strings.HasSuffix(name, "-sni") }
