package certs

import (
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"slices"
	"time"
)

const (
	// DefaultLifetime is how long a successor is valid if nothing else is known, see [LifeOf].
	DefaultLifetime = 365 * 24 * time.Hour
	// Backdate is how far NotBefore lies in the past, so that a peer whose clock is
	// a little behind accepts the certificate.
	Backdate = 5 * time.Minute
)

var (
	oidSubjectKeyID    = asn1.ObjectIdentifier{2, 5, 29, 14}
	oidKeyUsage        = asn1.ObjectIdentifier{2, 5, 29, 15}
	oidSubjectAltName  = asn1.ObjectIdentifier{2, 5, 29, 17}
	oidBasic           = asn1.ObjectIdentifier{2, 5, 29, 19}
	oidNameConstraints = asn1.ObjectIdentifier{2, 5, 29, 30}
	oidAuthorityKeyID  = asn1.ObjectIdentifier{2, 5, 29, 35}
	oidExtKeyUsage     = asn1.ObjectIdentifier{2, 5, 29, 37}
	// Signed certificate timestamps and the poison of a precertificate (RFC 6962).
	oidTimestamps = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}
	oidPoison     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 3}
)

// ownExtension reports whether an extension is specific to one certificate, so that a successor
// has its own or none.
func ownExtension(oid asn1.ObjectIdentifier) bool {
	return slices.ContainsFunc([]asn1.ObjectIdentifier{oidSubjectKeyID, oidAuthorityKeyID, oidTimestamps, oidPoison}, oid.Equal)
}

// Renewal holds the properties of a successor that do not follow from its predecessor.
type Renewal struct {
	Now      time.Time
	Validity time.Duration // from Now on; 0: see Life
	Life     time.Duration // from NotBefore to NotAfter; 0: that of its predecessor, see [LifeOf]
	// CA will sign the successor and bounds its dates. Nil where the signer is made
	// together with it, see [SelfServing].
	CA *x509.Certificate
}

// SuccessorTemplate returns the template of a certificate that is the same as old except for
// serial number, dates and key. Subject and extensions (names, usages, unknown ones; with their
// order and criticality) are copied byte by byte through RawSubject and ExtraExtensions, which
// take precedence over the parsed fields that are set for readers. The identifiers of keys and
// certificate-transparency timestamps belong to one certificate and are not taken over; if old
// has a subject key identifier, [SignTemplate] gives the successor its own.
//
// It starts five minutes before r.Now but not before its CA, and ends when asked but not after
// its CA. A CA that cannot sign at r.Now is an error with the reason. The signature's algorithm
// is that of old; [SignTemplate] uses it if the CA's key can.
func SuccessorTemplate(old *x509.Certificate, r Renewal) (*x509.Certificate, error) {
	notBefore, notAfter, err := r.datesFor(old)
	if err != nil {
		return nil, fmt.Errorf("renew certificate %q: %w", old.Subject, err)
	}
	t := &x509.Certificate{
		RawSubject:         old.RawSubject,
		Subject:            old.Subject,
		SubjectKeyId:       old.SubjectKeyId,
		NotBefore:          notBefore,
		NotAfter:           notAfter,
		KeyUsage:           old.KeyUsage,
		ExtKeyUsage:        old.ExtKeyUsage,
		UnknownExtKeyUsage: old.UnknownExtKeyUsage,
		DNSNames:           old.DNSNames,
		IPAddresses:        old.IPAddresses,
		EmailAddresses:     old.EmailAddresses,
		URIs:               old.URIs,
		SignatureAlgorithm: old.SignatureAlgorithm,
	}
	for _, e := range old.Extensions {
		if !ownExtension(e.Id) {
			t.ExtraExtensions = append(t.ExtraExtensions, e)
		}
	}
	return t, nil
}

// lifeLike returns the life of the successor of old.
func (r Renewal) lifeLike(old *x509.Certificate) time.Duration {
	if r.Life > 0 {
		return r.Life
	}
	copied := r.CA != nil && r.CA.NotBefore.Equal(old.NotBefore)
	return LifeOf(old.NotBefore, old.NotAfter, r.Now, copied)
}

func (r Renewal) datesFor(old *x509.Certificate) (notBefore, notAfter time.Time, err error) {
	validity := r.Validity
	if validity < 0 {
		return notBefore, notAfter, fmt.Errorf("validity %s is negative", validity)
	}
	// Certificates count whole seconds.
	notBefore = r.Now.UTC().Add(-Backdate).Truncate(time.Second)
	if r.CA != nil {
		if err := CanSign(r.CA, r.Now); err != nil {
			return notBefore, notAfter, err
		}
		if notBefore.Before(r.CA.NotBefore) {
			notBefore = r.CA.NotBefore.UTC()
		}
	}
	notAfter = r.Now.UTC().Add(validity).Truncate(time.Second)
	if validity == 0 {
		life := r.lifeLike(old)
		notAfter = notBefore.Add(life)
		if least := r.Now.UTC().Add(life / 2).Truncate(time.Second); notAfter.Before(least) {
			notAfter = least // one that lives for minutes
		}
		if IsUnlimited(old.NotBefore, old.NotAfter) && old.NotAfter.After(notAfter) {
			notAfter = old.NotAfter.UTC()
		}
	}
	if r.CA != nil && notAfter.After(r.CA.NotAfter) {
		notAfter = r.CA.NotAfter.UTC()
	}
	return notBefore, notAfter, nil
}
