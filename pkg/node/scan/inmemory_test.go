package scan

import (
	"context"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// TestCertificatesInMemoryAreListed: the API server's loopback certificate and the
// scheduler's self-made serving certificate have no file.
func TestCertificatesInMemoryAreListed(t *testing.T) {
	year := 365 * 24 * time.Hour
	for name, tt := range map[string]struct {
		left    time.Duration
		status  certs.Status
		finding string
	}{
		"far":     {300 * 24 * time.Hour, certs.OK, ""},
		"near":    {10 * 24 * time.Hour, certs.Expiring, "expires"},
		"expired": {-time.Hour, certs.Expired, "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			n := kubeadmNode(t)
			end := certstest.Now.Add(tt.left)
			made := func(names ...string) *x509.Certificate {
				return certstest.NewCA(t, "x-ca@1").Leaf(t, certstest.Name("x@1"), certstest.SANs(names...), certstest.Valid(end.Add(-year), end)).Leaf()
			}
			memory := map[string]*x509.Certificate{"127.0.0.1:6443 apiserver-loopback-client": made("apiserver-loopback-client"), "127.0.0.1:10259 ": made("localhost")}
			got := TakeInventory(t.Context(), n.Tree.Root, Options{
				Now: func() time.Time { return certstest.Now },
				HandshakeInMemory: func(_ context.Context, address, serverName string) (*x509.Certificate, error) {
					if c := memory[address+" "+serverName]; c != nil {
						return c, nil
					}
					if c := n.served[address]; c != nil {
						return c, nil
					}
					return nil, errors.New("connection refused")
				},
			})
			if len(got.InMemory) != 2 {
				t.Fatalf("%+v", got.InMemory)
			}
			for i, want := range []struct {
				service certs.Service
				name    string
			}{{certs.KubeAPIServer, "apiserver-loopback-client"}, {certs.KubeScheduler, "scheduler-server"}} {
				m := got.InMemory[i]
				if m.Service != want.service || m.Name != want.name || m.Status != tt.status || !m.NotAfter.Equal(end) {
					t.Errorf("%+v", m)
				}
			}
			var texts []string
			for _, f := range got.Findings {
				if f.Kind == inventory.Memory {
					texts = append(texts, f.Text)
				}
			}
			if (tt.finding == "") != (len(texts) == 0) || len(texts) > 0 && !strings.Contains(texts[0], tt.finding+" "+end.Format(time.RFC3339)) {
				t.Errorf("findings %q", texts)
			}
		})
	}
}

// TestServerWithoutLoopbackCertificate: it serves its default one for every name.
func TestServerWithoutLoopbackCertificate(t *testing.T) {
	n := kubeadmNode(t)
	got := TakeInventory(t.Context(), n.Tree.Root, Options{
		Now: func() time.Time { return certstest.Now },
		HandshakeInMemory: func(_ context.Context, address, _ string) (*x509.Certificate, error) {
			if c := n.served[address]; c != nil {
				return c, nil
			}
			return nil, errors.New("connection refused")
		},
	})
	if len(got.InMemory) > 0 {
		t.Errorf("%+v", got.InMemory)
	}
}
