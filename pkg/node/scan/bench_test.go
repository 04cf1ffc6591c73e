package scan

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

func BenchmarkScan(b *testing.B) {
	tree := certstest.Kubeadm(b, "cp1", certstest.WithKey(certstest.RSA2048, ""))
	layouttest.NodeIn(b, tree.Root).AddKubeadm(certstest.PKIDir)
	for b.Loop() {
		TakeInventory(b.Context(), tree.Root, Options{Handshake: func(context.Context, string, string) (*x509.Certificate, error) {
			return nil, errors.New("not part of this")
		}})
	}
}
