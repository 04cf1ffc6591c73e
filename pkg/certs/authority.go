package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"time"
)

// CanSign returns an error if a certificate cannot sign others now.
func CanSign(ca *x509.Certificate, now time.Time) error {
	refused := RefusedKey(ca.PublicKey)
	switch {
	case refused != "":
		return fmt.Errorf("certificate authority %q %s; it signs nothing that they accept: replace it, with a larger key", ca.Subject, refused)
	case now.Before(ca.NotBefore):
		return fmt.Errorf("certificate authority %q is not valid before %s; check this node's clock, which says %s",
			ca.Subject, ca.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case !now.Before(ca.NotAfter):
		return fmt.Errorf("certificate authority %q expired %s; its leaf certificates cannot be renewed before the authority itself is replaced",
			ca.Subject, ca.NotAfter.UTC().Format(time.RFC3339))
	case ca.Version >= 3 && !ca.BasicConstraintsValid, ca.BasicConstraintsValid && !ca.IsCA:
		return fmt.Errorf("certificate %q is not a certificate authority: its basic constraints lack CA:TRUE, so no peer accepts its signatures", ca.Subject)
	case ca.KeyUsage != 0 && ca.KeyUsage&x509.KeyUsageCertSign == 0:
		return fmt.Errorf("certificate authority %q may not sign certificates: its key usage lacks \"cert sign\", so no peer accepts its signatures", ca.Subject)
	}
	return nil
}

// CheckNameConstraints returns an error if the name constraints of a CA, or of an intermediate one
// in the chain, exclude a name of the chain's leaf, so that peers refuse it. Other faults of the
// chain are no error.
func CheckNameConstraints(chain []*x509.Certificate, ca *x509.Certificate, now time.Time) error {
	constrained := func(c *x509.Certificate) bool {
		return slices.ContainsFunc(c.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(oidNameConstraints) })
	}
	if !constrained(ca) && !slices.ContainsFunc(chain, constrained) {
		return nil
	}
	options := x509.VerifyOptions{Roots: x509.NewCertPool(), Intermediates: x509.NewCertPool(), CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	options.Roots.AddCert(ca)
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(options)
	var invalid x509.CertificateInvalidError
	if errors.As(err, &invalid) && (invalid.Reason == x509.CANotAuthorizedForThisName || invalid.Reason == x509.UnconstrainedName) {
		return fmt.Errorf("certificate authority %q may not sign these names: %s", ca.Subject, invalid.Detail)
	}
	return nil
}

// AuthorityID identifies a CA by its name and key, whatever its certificate's dates: the
// lower-case hex SHA-256 of the DER of subject and SubjectPublicKeyInfo, one after the other.
func AuthorityID(ca *x509.Certificate) string {
	sum := sha256.Sum256(slices.Concat(ca.RawSubject, ca.RawSubjectPublicKeyInfo))
	return hex.EncodeToString(sum[:])
}

// IsIssuedBy reports whether ca's key signed the certificate in ca's name. It checks neither
// dates nor usages: [CanSign] checks whether the issuer may still issue. A self-signed
// certificate is its own issuer. Peers may refuse the signature all the same: [RefusedSignature].
func IsIssuedBy(c, ca *x509.Certificate) bool {
	if c == nil || ca == nil || !bytes.Equal(c.RawIssuer, ca.RawSubject) {
		return false
	}
	// A hostile file must not use the processor for minutes.
	if k, ok := ca.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > 2*maxRSABits {
		return false
	}
	if ca.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil {
		return true
	}
	k, isRSA := ca.PublicKey.(*rsa.PublicKey)
	return isRSA && signedBy(c, k)
}

// SignTemplate makes the certificate that a template of [SuccessorTemplate] describes, for pub,
// signed by ca. The serial number is new: 128 random bits. The signature algorithm is the
// template's if the CA's key can make it, otherwise the key's default. [CanSign] checks whether
// the CA may sign.
func SignTemplate(template *x509.Certificate, pub crypto.PublicKey, ca *x509.Certificate, caKey crypto.Signer) (*x509.Certificate, error) {
	switch {
	case caKey == nil:
		return nil, fmt.Errorf("sign certificate %q: certificate authority %q has no key", template.Subject, ca.Subject)
	case !samePublicKey(caKey.Public(), ca.PublicKey):
		return nil, fmt.Errorf("sign certificate %q: the key is not that of certificate authority %q", template.Subject, ca.Subject)
	}
	t := *template
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t.SerialNumber = serial
	if len(t.SubjectKeyId) > 0 {
		if t.SubjectKeyId, err = subjectKeyID(pub); err != nil {
			return nil, err
		}
	}
	t.SignatureAlgorithm = signatureBy(caKey.Public(), template.SignatureAlgorithm)
	der, err := x509.CreateCertificate(rand.Reader, &t, ca, pub, caKey)
	if err != nil && t.SignatureAlgorithm != x509.UnknownSignatureAlgorithm {
		t.SignatureAlgorithm = x509.UnknownSignatureAlgorithm // for example, a key too small for that hash
		der, err = x509.CreateCertificate(rand.Reader, &t, ca, pub, caKey)
	}
	if err != nil {
		return nil, fmt.Errorf("sign certificate %q: %w", template.Subject, err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("sign certificate %q: %w", template.Subject, err)
	}
	return c, nil
}

// signatureBy returns the wanted signature algorithm if a key of that kind can make it and it
// is still secure; otherwise zero, so that the key decides.
func signatureBy(key crypto.PublicKey, wanted x509.SignatureAlgorithm) x509.SignatureAlgorithm {
	var can []x509.SignatureAlgorithm
	switch key.(type) {
	case *rsa.PublicKey:
		can = []x509.SignatureAlgorithm{x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
			x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS}
	case *ecdsa.PublicKey:
		can = []x509.SignatureAlgorithm{x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512}
	}
	if slices.Contains(can, wanted) {
		return wanted
	}
	return x509.UnknownSignatureAlgorithm
}

// signSelf is [SignTemplate] for a certificate that is its own issuer.
func signSelf(template *x509.Certificate, key crypto.Signer) (*x509.Certificate, error) {
	issuer := *template
	issuer.PublicKey = key.Public()
	return SignTemplate(template, key.Public(), &issuer, key)
}

// newSerial returns 128 random bits with the highest set: never zero, always of the
// same length, well within the 20 octets of RFC 5280.
func newSerial() (*big.Int, error) {
	buf := make([]byte, 16)
	if _, err := rand.Read(buf); err != nil {
		return nil, fmt.Errorf("generate serial number: %w", err)
	}
	buf[0] |= 0x80
	return new(big.Int).SetBytes(buf), nil
}

// subjectKeyID is RFC 7093's method 1, the leftmost 160 bits of the SHA-256 of the
// key's bit string, as crypto/x509 gives CA certificates.
func subjectKeyID(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	var info struct {
		Algorithm pkix.AlgorithmIdentifier
		PublicKey asn1.BitString
	}
	if _, err := asn1.Unmarshal(der, &info); err != nil {
		return nil, fmt.Errorf("encode public key: %w", err)
	}
	sum := sha256.Sum256(info.PublicKey.Bytes)
	return sum[:20], nil
}
