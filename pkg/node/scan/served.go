package scan

import (
	"context"
	"crypto/x509"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// askLimit limits the time of all handshakes, which run at the same time: endpoints that hang
// must not slow down a scan.
const askLimit = 2500 * time.Millisecond

// askAll requests the certificate of every endpoint once and fills it in. It returns, by entry,
// a sentence about the first endpoint that serves another certificate.
func askAll(ctx context.Context, entries []entry, handshake func(context.Context, string, string) (*x509.Certificate, error)) []string {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var all sync.WaitGroup
	for i := range entries {
		for j := range entries[i].Served {
			s := &entries[i].Served[j]
			all.Go(func() { askEndpoint(ctx, s, handshake) })
		}
	}
	all.Wait()
	other := make([]string, len(entries))
	for i := range entries {
		other[i] = servesOther(&entries[i])
	}
	return other
}

func askEndpoint(ctx context.Context, s *inventory.Served, handshake func(context.Context, string, string) (*x509.Certificate, error)) {
	leaf, err := handshake(ctx, s.Address, s.ServerName)
	if err != nil {
		s.Error = err.Error()
		return
	}
	s.FingerprintSHA256 = certs.Fingerprint(leaf)
	end := leaf.NotAfter.UTC()
	s.NotAfter = &end
}

// servesOther describes the first endpoint that serves another certificate than the one on
// disk; empty if all agree or do not answer.
func servesOther(e *entry) string {
	if len(e.chain) == 0 {
		return ""
	}
	for _, s := range e.Served {
		if s.FingerprintSHA256 == "" || s.FingerprintSHA256 == e.FingerprintSHA256 {
			continue
		}
		return s.Address + " serves another certificate, which expires " + s.NotAfter.Format(time.RFC3339)
	}
	return ""
}
