package watcher

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// selfSigned is a certificate for a port of this process, in memory. Clients cannot verify it;
// it protects the tokens that they send against passive readers.
type selfSigned struct {
	now func() time.Time

	mu      sync.Mutex
	current *tls.Certificate
}

func (s *selfSigned) tlsConfig() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.getCertificate}
}

// getCertificate makes another certificate, valid for a year, in the second half of the current
// one's life.
func (s *selfSigned) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.now().Before(s.current.Leaf.NotAfter.Add(-180*certs.Day)) {
		return s.current, nil
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("rotate-certs-watcher", nil, nil)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for metrics: %w", err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate for metrics: %w", err)
	}
	s.current = &pair
	return s.current, nil
}
