package rotate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/component"
	"github.com/rotate-certs/rotate-certs/pkg/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/store"
)

// Live is the [Prober] of real endpoints.
type Live struct{ Root hostfs.Root }

var (
	_ Prober    = Live{}
	_ Restarter = (*component.Runtime)(nil)
)

// Handshake implements [Prober].
func (Live) Handshake(ctx context.Context, address, serverName string) (*x509.Certificate, error) {
	return component.Handshake(ctx, address, serverName)
}

// Client implements [Prober].
func (l Live) Client(ctx context.Context, c inventory.Certificate, m store.Material) (journal.Evidence, error) {
	return component.ProveClient(ctx, l.Root, c, pairOf(m))
}

// Health implements [Prober]. Where an API server tells nothing to strangers, it is
// asked again with a client certificate of the node.
func (l Live) Health(ctx context.Context, node inventory.Node, url string) inventory.Probe {
	p := component.HealthCheck(ctx, url, nil)
	if p.Healthy || !(strings.HasPrefix(p.Message, "status 401") || strings.HasPrefix(p.Message, "status 403")) {
		return p
	}
	for _, c := range node.Certificates {
		if c.Client == nil || c.Client.Kind != inventory.ToAPIServer || c.Status == certs.Expired || c.Status == certs.Invalid {
			continue
		}
		content, err := store.Read(l.Root, c.Store)
		if err != nil || content.KeyErr != nil {
			continue
		}
		return component.HealthCheck(ctx, url, &tls.Config{
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: true, //nolint:gosec // an endpoint of this node, which is sent nothing but a certificate
			Certificates:       []tls.Certificate{pairOf(store.Material{Chain: content.Chain, Key: content.Key})},
		})
	}
	return p
}

func pairOf(m store.Material) tls.Certificate {
	pair := tls.Certificate{PrivateKey: m.Key.Signer}
	for _, c := range m.Chain {
		pair.Certificate = append(pair.Certificate, c.Raw)
	}
	if len(m.Chain) > 0 {
		pair.Leaf = m.Chain[0]
	}
	return pair
}
