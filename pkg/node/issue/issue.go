// Package issue makes the successors of certificates. An [Issuer] signs them: a CA whose key is
// on this node, or a CA made for one leaf. Package nodecsr requests them from the certificates
// API. Every successor must pass [CheckSuccessor].
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

// Request describes the successor to issue.
type Request struct {
	Old      []*x509.Certificate // the chain to replace, leaf first
	Key      certs.Key           // the successor's key
	KeepKey  bool                // Key is the old one, which has another use
	Validity time.Duration       // from Now on; 0: Life
	Life     time.Duration       // from NotBefore to NotAfter; 0: as long as the old one
	Now      time.Time
}

// Issuer issues successors. A chain that it returns has passed [CheckSuccessor].
type Issuer interface {
	IssueSuccessor(ctx context.Context, r Request) ([]*x509.Certificate, error)
}

// checkRequest refuses a request that no issuer can fulfil, or whose context has ended.
func (r Request) checkRequest(ctx context.Context) error {
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

// LossError means that an issued certificate lacks names, usages or other contents of the old
// one. It is never installed, and no option changes that.
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

// Hint returns the next step.
func (e *LossError) Hint() string {
	return "check the configuration of " + e.Issuer + ": it must sign the names and usages that were requested"
}

// CheckSuccessor refuses a chain that is not a faithful and usable successor: its leaf is for
// the request's key, which is new unless it has to be kept, has everything that the old one
// had, is valid now, and verifies up to ca with the chain's other certificates. Without ca
// (nil), as for a remote signer, those others are trusted, and only a chain of several is
// verified.
func CheckSuccessor(r Request, chain []*x509.Certificate, ca *x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("check new certificate: there is none")
	}
	leaf := chain[0]
	if !r.Key.FitsCert(leaf) {
		return fmt.Errorf("check new certificate %q: it is not for the new key", leaf.Subject)
	}
	switch kept := r.Key.FitsCert(r.Old[0]); {
	case kept && !r.KeepKey:
		return fmt.Errorf("check new certificate %q: its key is the old one", leaf.Subject)
	case !kept && r.KeepKey:
		return fmt.Errorf("check new certificate %q: its key is not the old one, which has to be kept", leaf.Subject)
	}
	if lost := certs.LossesOf(certs.Compare(r.Old[0], leaf)); len(lost) > 0 {
		return &LossError{Subject: r.Old[0].Subject.String(), Issuer: leaf.Issuer.String(), Lost: lost}
	}
	if status, reason := certs.DescribeCertificate(leaf).ValidityStatus(r.Now, 1); status != certs.OK && status != certs.Expiring {
		return fmt.Errorf("check new certificate %q: %s", leaf.Subject, reason)
	}
	return verifyChain(r, chain, ca)
}

// verifyChain checks that a chain leads to an authority. Without an authority the chain's other
// certificates are trusted, if the leaf's issuer is among them; it must be among them if it was
// before.
func verifyChain(r Request, chain []*x509.Certificate, ca *x509.Certificate) error {
	trusted := []*x509.Certificate{ca}
	if ca == nil {
		led := len(climbChain(r.Old[0], r.Old[1:])) > 0
		if trusted = chain[1:]; len(trusted) == 0 || !led && len(climbChain(chain[0], trusted)) == 0 {
			return nil
		}
	}
	if err := verifyUpTo(r, chain, trusted...); err != nil {
		return fmt.Errorf("check new certificate %q: it does not verify with certificate authority %q: %w",
			chain[0].Subject, trusted[len(trusted)-1].Subject, err)
	}
	return nil
}
