package watcher

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/util/cert"
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

// renewBefore is how long before its expiry the certificate, which is valid for a year, is
// replaced.
const renewBefore = 180 * 24 * time.Hour

// getCertificate makes another certificate if the current one expires soon.
func (s *selfSigned) getCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current != nil && s.now().Before(s.current.Leaf.NotAfter.Add(-renewBefore)) {
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
