package component

import (
	"crypto/tls"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

// credential authenticates a health request: a client certificate of the node, or nothing.
type credential struct{ certificate *inventory.Certificate }

func (o credential) String() string {
	if o.certificate == nil {
		return "a request without client certificate"
	}
	return "client certificate " + o.certificate.Name
}

// credentialsFor returns the credentials to try at a component's endpoint, the most promising
// first.
//
// etcd and the API server get client certificates first. The other components answer
// anonymous requests for /healthz unless --authorization-always-allow-paths was changed,
// and know the same clients as the API server. Certificates that were not valid when the
// node was scanned come last: their successor may be on disk by now.
func credentialsFor(node inventory.Node, c inventory.Component) []credential {
	anonymous := credential{}
	if !strings.HasPrefix(c.Health, "https://") {
		return []credential{anonymous}
	}
	var clients []inventory.Certificate
	if c.Service == certs.Etcd {
		clients = etcdClients(node)
	} else {
		clients = apiClients(node, c.Health)
	}
	var valid, invalid []credential
	for i := range clients {
		if isValid(clients[i]) {
			valid = append(valid, credential{&clients[i]})
		} else {
			invalid = append(invalid, credential{&clients[i]})
		}
	}
	if c.Service != certs.Etcd && c.Service != certs.KubeAPIServer {
		return slices.Concat([]credential{anonymous}, valid, invalid)
	}
	return slices.Concat(valid, []credential{anonymous}, invalid)
}

func isValid(c inventory.Certificate) bool {
	return c.Status != certs.Expired && c.Status != certs.Invalid && c.Status != certs.NotYetValid
}

// apiClients returns the node's client certificates for the API server, those that are used
// with this address first.
func apiClients(node inventory.Node, url string) []inventory.Certificate {
	var here, elsewhere []inventory.Certificate
	for _, c := range node.Certificates {
		switch {
		case c.Client == nil || c.Client.Kind != inventory.ToAPIServer:
		case strings.Contains(url, c.Client.Address):
			here = append(here, c)
		default:
			elsewhere = append(elsewhere, c)
		}
	}
	return append(here, elsewhere...)
}

// etcdClients returns the node's certificates that etcd may accept from a client: the one for
// health checks first, then those of other clients, then those of the member itself, which are
// often valid for both uses. Certificates that are restricted to servers are left out.
func etcdClients(node inventory.Node) []inventory.Certificate {
	var out []inventory.Certificate
	for _, c := range node.Certificates {
		toEtcd := c.Client != nil && c.Client.Kind == inventory.ToEtcd
		if toEtcd || c.Service == certs.Etcd && mayBeClient(c) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b inventory.Certificate) int { return etcdRank(a) - etcdRank(b) })
	return out
}

func mayBeClient(c inventory.Certificate) bool {
	extended := func(usage string) bool { return strings.HasSuffix(usage, " auth") }
	return slices.Contains(c.Usages, "client auth") || slices.Contains(c.Usages, "any") || !slices.ContainsFunc(c.Usages, extended)
}

func etcdRank(c inventory.Certificate) int {
	switch {
	case !isValid(c):
		return 3
	case c.Name == "etcd-healthcheck-client":
		return 0
	case c.Service != certs.Etcd:
		return 1
	default:
		return 2
	}
}

// loadPair reads a certificate and its key as they are on disk now.
func loadPair(root hostfs.Root, s inventory.Store) (tls.Certificate, error) {
	content, err := store.ReadStore(root, s)
	if err != nil {
		return tls.Certificate{}, err
	}
	if content.KeyErr != nil {
		return tls.Certificate{}, content.KeyErr
	}
	pair := tls.Certificate{PrivateKey: content.Key.Signer, Leaf: content.LeafCert()}
	for _, link := range content.Chain {
		pair.Certificate = append(pair.Certificate, link.Raw)
	}
	return pair, nil
}
