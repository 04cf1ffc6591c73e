package rotate

import (
	"context"
	"crypto/tls"
	"crypto/x509"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// Live is the [Prober] of real endpoints.
type Live struct{ Root hostfs.Root }

var (
	_ Prober    = Live{}
	_ Restarter = (*component.Runtime)(nil)
)

// ServedCertificate implements [Prober].
func (Live) ServedCertificate(ctx context.Context, address, serverName string) (*x509.Certificate, error) {
	return component.ServedCertificate(ctx, address, serverName)
}

// VerifyClient implements [Prober].
func (l Live) VerifyClient(ctx context.Context, c inventory.Certificate, m store.Material) (nodeapi.Evidence, error) {
	return component.VerifyClient(ctx, l.Root, c, pairOf(m))
}

// CheckHealth implements [Prober].
func (l Live) CheckHealth(ctx context.Context, node inventory.Node, c inventory.Component) inventory.Probe {
	return component.HealthOf(ctx, l.Root, node, c)
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
