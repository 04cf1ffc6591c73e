// Package issue makes the successors of certificates. Where a successor comes from
// is an [Issuer]'s business: a CA whose key lies on this node, a CA made for one
// leaf, the cluster's certificates API (package kube), others to follow. Every
// issuer ends with [Check].
package issue

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// Request asks for a successor.
type Request struct {
	Old      []*x509.Certificate // the chain to replace, leaf first
	Key      certs.Key           // the successor's key
	Validity time.Duration       // 0: [certs.DefaultLifetime]
	Now      time.Time
}

// Issuer issues successors. A chain that it returns has passed [Check].
type Issuer interface {
	Issue(ctx context.Context, r Request) ([]*x509.Certificate, error)
}

// validate refuses a request that no issuer can fulfil, or that nobody waits for.
func (r Request) validate(ctx context.Context) error {
	switch {
	case len(r.Old) == 0:
		return errors.New("issue certificate: there is none to renew")
	case r.Key.Signer == nil:
		return fmt.Errorf("issue certificate %q: there is no key", r.Old[0].Subject)
	case r.Now.IsZero():
		return fmt.Errorf("issue certificate %q: time is not set", r.Old[0].Subject)
	}
	return ctx.Err()
}

// LossError is a certificate that an issuer gave and that lacks what the one to be
// renewed has. It is never put in place, with no option.
type LossError struct {
	Subject string // of the old certificate
	Issuer  string
	Lost    []certs.Difference
}

func (e *LossError) Error() string {
	lines := make([]string, len(e.Lost))
	for i, d := range e.Lost {
		lines[i] = d.String()
	}
	return fmt.Sprintf("check new certificate %q, signed by %q: it lacks what the old one had: %s", e.Subject, e.Issuer, strings.Join(lines, "; "))
}

// Hint says what to do about it.
func (e *LossError) Hint() string {
	return "see to it that " + e.Issuer + " signs what it is asked for; nothing renews a certificate into a lesser one"
}

// Check refuses a chain that is not a faithful and usable successor: its leaf is
// for the request's key, has lost nothing that the old one had, is valid now, and
// verifies up to ca with the chain's other certificates. Without ca (nil), as where
// a remote signer's is not at hand, the chain's last certificate is trusted
// and only a chain of several is verified.
func Check(r Request, chain []*x509.Certificate, ca *x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("check new certificate: there is none")
	}
	leaf := chain[0]
	if !r.Key.Fits(leaf) {
		return fmt.Errorf("check new certificate %q: it is not for the new key", leaf.Subject)
	}
	if r.Key.Fits(r.Old[0]) {
		return fmt.Errorf("check new certificate %q: its key is the old one", leaf.Subject)
	}
	if lost := certs.Losses(certs.Diff(r.Old[0], leaf)); len(lost) > 0 {
		return &LossError{Subject: r.Old[0].Subject.String(), Issuer: leaf.Issuer.String(), Lost: lost}
	}
	if status, reason := certs.Describe(leaf).Validity(r.Now, 1); status != certs.OK && status != certs.Expiring {
		return fmt.Errorf("check new certificate %q: %s", leaf.Subject, reason)
	}
	return verify(r, chain, ca)
}

func verify(r Request, chain []*x509.Certificate, ca *x509.Certificate) error {
	if ca == nil {
		ca = chain[len(chain)-1]
		if len(chain) == 1 {
			return nil
		}
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(ca)
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	leaf := *chain[0]
	// What Go does not understand and the old certificate had as well is no news.
	if len(r.Old[0].UnhandledCriticalExtensions) > 0 {
		leaf.UnhandledCriticalExtensions = nil
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: r.Now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	if err != nil {
		return fmt.Errorf("check new certificate %q: it does not verify with certificate authority %q: %w", leaf.Subject, ca.Subject, err)
	}
	return nil
}
