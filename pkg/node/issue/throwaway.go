package issue

import (
	"context"
	"crypto/x509"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Throwaway issues under a CA that is made for this one certificate and whose key
// is forgotten at once, as the kubelet does for its kubelet.crt. Nobody but the
// certificate's own file knows that CA, so nobody has to be told of the new one.
type Throwaway struct{}

var _ Issuer = Throwaway{}

// Issue makes CA and certificate.
func (Throwaway) Issue(ctx context.Context, r Request) ([]*x509.Certificate, error) {
	if err := r.validate(ctx); err != nil {
		return nil, err
	}
	chain, err := certs.SelfServing(r.Old, r.Key, certs.Renewal{Now: r.Now, Validity: r.Validity, Life: r.Life})
	if err != nil {
		return nil, err
	}
	if err := Check(r, chain, nil); err != nil {
		return nil, err
	}
	return chain, nil
}
