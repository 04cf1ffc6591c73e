package issue

import (
	"context"
	"crypto/x509"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Throwaway issues under a CA that is made for this one certificate and whose key is dropped at
// once, as the kubelet does for its kubelet.crt. Only the certificate's own file holds that CA,
// so no trust bundle has to change.
type Throwaway struct{}

var _ Issuer = Throwaway{}

// IssueSuccessor makes the CA and the certificate.
func (Throwaway) IssueSuccessor(ctx context.Context, r Request) ([]*x509.Certificate, error) {
	if err := r.checkRequest(ctx); err != nil {
		return nil, err
	}
	chain, err := certs.SelfServing(r.Old, r.Key, certs.Renewal{Now: r.Now, Validity: r.Validity, Life: r.Life})
	if err != nil {
		return nil, err
	}
	if err := CheckSuccessor(r, chain, nil); err != nil {
		return nil, err
	}
	return chain, nil
}
