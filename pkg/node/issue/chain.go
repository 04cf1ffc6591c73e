package issue

import (
	"bytes"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// chainAfter returns the certificates that follow the new leaf: those of the old file, in their
// order. An expired one is replaced by a certificate of the same name and key from the CA's
// file, if there is one, so that peers which trust only the root still receive all
// intermediates. If the signer was among the old ones and has no valid certificate there, its
// own comes first.
func chainAfter(r Request, signer *x509.Certificate, bundle []*x509.Certificate) []*x509.Certificate {
	if len(r.Old) == 1 {
		return nil
	}
	var out []*x509.Certificate
	for _, c := range r.Old[1:] {
		if c.Equal(r.Old[0]) {
			continue // a second copy of the old leaf
		}
		if !validAt(c, r.Now) {
			if fresh := successorOf(c, append([]*x509.Certificate{signer}, bundle...), r.Now); fresh != nil {
				c = fresh
			} else if sameCA(c, signer) {
				continue
			}
		}
		if !slices.ContainsFunc(out, c.Equal) {
			out = append(out, c)
		}
	}
	was := slices.ContainsFunc(r.Old[1:], func(c *x509.Certificate) bool { return certs.IsIssuedBy(r.Old[0], c) })
	if was && !slices.ContainsFunc(out, func(c *x509.Certificate) bool { return sameCA(c, signer) && validAt(c, r.Now) }) {
		out = append([]*x509.Certificate{signer}, out...)
	}
	return out
}

// successorOf returns the valid certificate that replaces an expired certificate of a CA in a
// chain. It prefers one of the same issuer, since the certificates above it stay; nil: there is
// none.
func successorOf(c *x509.Certificate, among []*x509.Certificate, now time.Time) *x509.Certificate {
	fit := slices.DeleteFunc(slices.Clone(among), func(x *x509.Certificate) bool { return !sameCA(c, x) || !validAt(x, now) })
	below := slices.DeleteFunc(slices.Clone(fit), func(x *x509.Certificate) bool { return !bytes.Equal(x.RawIssuer, c.RawIssuer) })
	if len(below) > 0 {
		fit = below
	}
	if i := certs.LastingOf(fit, now, certs.DatesOf); i >= 0 {
		return fit[i]
	}
	return nil
}

func sameCA(a, b *x509.Certificate) bool {
	return bytes.Equal(a.RawSubject, b.RawSubject) && bytes.Equal(a.RawSubjectPublicKeyInfo, b.RawSubjectPublicKeyInfo)
}

func validAt(c *x509.Certificate, now time.Time) bool {
	return !now.Before(c.NotBefore) && now.Before(c.NotAfter)
}

// climbChain returns the certificates that lead from a leaf upwards, as far as the candidates
// do, in any order and with any dates. It ends at an authority with a signature that peers refuse:
// they accept it only where they trust it itself.
func climbChain(leaf *x509.Certificate, among []*x509.Certificate) []*x509.Certificate {
	var path []*x509.Certificate
	for at := leaf; ; {
		if at != leaf && certs.RefusedSignature(at) != "" {
			return path
		}
		i := slices.IndexFunc(among, func(c *x509.Certificate) bool {
			return !slices.ContainsFunc(path, func(p *x509.Certificate) bool { return sameCA(p, c) }) && certs.IsIssuedBy(at, c)
		})
		if i < 0 {
			return path
		}
		at = among[i]
		path = append(path, at)
	}
}

// verifyAsBefore refuses a chain if peers that verified the old one would not verify it. Such
// peers trust only the highest authority to which the old file leads, or its signer if the CA's
// file has it. An expired authority without a successor is accepted if it was in the old chain.
func verifyAsBefore(r Request, chain, bundle []*x509.Certificate) error {
	path := climbChain(r.Old[0], r.Old[1:])
	if len(path) == 0 {
		return nil
	}
	top := path[len(path)-1]
	if above := climbChain(top, bundle); len(above) > 0 {
		path = append(path, above...)
	}
	for i, c := range path {
		if validAt(c, r.Now) {
			continue
		}
		if path[i] = successorOf(c, append(slices.Clone(chain[1:]), bundle...), r.Now); path[i] == nil {
			return nil
		}
	}
	anchor := path[len(path)-1]
	if err := verifyUpTo(r, chain, anchor); err != nil {
		return fmt.Errorf("check new certificate %q: peers that know only %q, to which the old one led, would not accept it: %w", chain[0].Subject, anchor.Subject, err)
	}
	return nil
}

// verifyUpTo verifies a chain as a peer does that trusts the given authorities.
func verifyUpTo(r Request, chain []*x509.Certificate, trusted ...*x509.Certificate) error {
	roots := x509.NewCertPool()
	intermediates := x509.NewCertPool()
	for _, c := range trusted {
		roots.AddCert(c)
	}
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	leaf := *chain[0]
	// Extensions that Go does not know are accepted if the old certificate had them as well.
	if len(r.Old[0].UnhandledCriticalExtensions) > 0 {
		leaf.UnhandledCriticalExtensions = nil
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: intermediates, CurrentTime: r.Now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err
}
