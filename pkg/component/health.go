package component

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/store"
)

// Health is what a control-plane node sees of the cluster: etcd's members, and its own
// API server.
func Health(ctx context.Context, root hostfs.Root, node inventory.Node) inventory.Health {
	h := inventory.Health{Node: node.Name, Etcd: Etcd(ctx, root, node)}
	if c := node.Component(certs.KubeAPIServer); c != nil && c.Health != "" {
		p := apiServerHealth(ctx, root, node, c.Health)
		h.APIServer = &p
	}
	return h
}

// apiServerHealth asks /readyz with a client certificate of the node, since anonymous
// requests may be refused, and verifies the server by the authority that this
// certificate's owner trusts. Where the node has no usable one it asks anonymously.
func apiServerHealth(ctx context.Context, root hostfs.Root, node inventory.Node, url string) inventory.Probe {
	for _, c := range apiClients(node, url) {
		content, err := store.Read(root, c.Store)
		if err != nil || content.KeyErr != nil {
			continue
		}
		p := prover{target: *c.Client, pair: tls.Certificate{PrivateKey: content.Key.Signer, Leaf: content.Leaf()}}
		for _, link := range content.Chain {
			p.pair.Certificate = append(p.pair.Certificate, link.Raw)
		}
		if err := p.connect(root); err != nil {
			continue
		}
		if !strings.Contains(url, c.Client.Address) && p.conf.ServerName == "" {
			// Asked at this node's own address, known by the name that the client uses.
			if host, _, err := net.SplitHostPort(c.Client.Address); err == nil {
				p.conf.ServerName = host
			}
		}
		return HealthCheck(ctx, url, p.conf)
	}
	return HealthCheck(ctx, url, nil)
}

// apiClients are the node's usable client certificates for the API server, those
// that are used with this very address first.
func apiClients(node inventory.Node, url string) []inventory.Certificate {
	var out []inventory.Certificate
	for _, c := range node.Certificates {
		usable := c.Status != certs.Expired && c.Status != certs.Invalid && c.Status != certs.NotYetValid
		if c.Client != nil && c.Client.Kind == inventory.ToAPIServer && usable {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b inventory.Certificate) int {
		return notIn(url, a.Client.Address) - notIn(url, b.Client.Address)
	})
	return out
}

func notIn(url, address string) int {
	if strings.Contains(url, address) {
		return 0
	}
	return 1
}
