package certs

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"
)

// Facts are the data of a certificate that may be printed, logged and published. They hold no
// secret.
type Facts struct {
	Subject           string    `json:"subject"`           // RFC 2253 order, as Go prints it
	Issuer            string    `json:"issuer"`            // same
	SerialNumber      string    `json:"serialNumber"`      // lower-case hex, no separators
	FingerprintSHA256 string    `json:"fingerprintSHA256"` // lower-case hex of the DER's SHA-256
	NotBefore         time.Time `json:"notBefore"`
	NotAfter          time.Time `json:"notAfter"`
	SANs              []string  `json:"sans,omitempty"`   // DNS names, IPs, e-mails, URIs, in this order
	Usages            []string  `json:"usages,omitempty"` // names of the CSR API: "digital signature", "server auth", …
	KeyAlgorithm      string    `json:"keyAlgorithm"`     // "RSA-2048", "ECDSA-P-256", "Ed25519"
}

// DescribeCertificate extracts the facts of a certificate.
func DescribeCertificate(c *x509.Certificate) Facts {
	return Facts{
		Subject:           c.Subject.String(),
		Issuer:            c.Issuer.String(),
		SerialNumber:      serialHex(c),
		FingerprintSHA256: Fingerprint(c),
		NotBefore:         c.NotBefore.UTC(),
		NotAfter:          c.NotAfter.UTC(),
		SANs:              sanStrings(c),
		Usages:            usageNames(c),
		KeyAlgorithm:      KeyAlgorithm(c.PublicKey),
	}
}

// Fingerprint is the lower-case hex SHA-256 of the certificate's DER, the form in
// which the API server's credential-id names certificates too.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return hex.EncodeToString(sum[:])
}

// KeyAlgorithm names the algorithm and size of a public key, e.g. "RSA-2048".
func KeyAlgorithm(pub any) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-%d", k.N.BitLen())
	case *ecdsa.PublicKey:
		return "ECDSA-" + k.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	default:
		return fmt.Sprintf("unknown (%T)", pub)
	}
}

func serialHex(c *x509.Certificate) string {
	if c.SerialNumber == nil {
		return ""
	}
	return c.SerialNumber.Text(16)
}

func sanStrings(c *x509.Certificate) []string {
	var out []string
	out = append(out, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		out = append(out, ip.String())
	}
	out = append(out, c.EmailAddresses...)
	for _, u := range c.URIs {
		out = append(out, u.String())
	}
	return out
}

// keyUsageNames and extKeyUsageNames use the names of the certificates.k8s.io API, which
// operators know.
var keyUsageNames = []struct {
	usage x509.KeyUsage
	name  string
}{
	{x509.KeyUsageDigitalSignature, "digital signature"},
	{x509.KeyUsageContentCommitment, "content commitment"},
	{x509.KeyUsageKeyEncipherment, "key encipherment"},
	{x509.KeyUsageDataEncipherment, "data encipherment"},
	{x509.KeyUsageKeyAgreement, "key agreement"},
	{x509.KeyUsageCertSign, "cert sign"},
	{x509.KeyUsageCRLSign, "crl sign"},
	{x509.KeyUsageEncipherOnly, "encipher only"},
	{x509.KeyUsageDecipherOnly, "decipher only"},
}

var extKeyUsageNames = map[x509.ExtKeyUsage]string{
	x509.ExtKeyUsageAny:             "any",
	x509.ExtKeyUsageServerAuth:      "server auth",
	x509.ExtKeyUsageClientAuth:      "client auth",
	x509.ExtKeyUsageCodeSigning:     "code signing",
	x509.ExtKeyUsageEmailProtection: "email protection",
	x509.ExtKeyUsageTimeStamping:    "timestamping",
	x509.ExtKeyUsageOCSPSigning:     "ocsp signing",
}

func usageNames(c *x509.Certificate) []string {
	var out []string
	for _, u := range keyUsageNames {
		if c.KeyUsage&u.usage != 0 {
			out = append(out, u.name)
		}
	}
	for _, u := range c.ExtKeyUsage {
		name, known := extKeyUsageNames[u]
		if !known {
			name = fmt.Sprintf("extended usage %d", u)
		}
		out = append(out, name)
	}
	for _, oid := range c.UnknownExtKeyUsage {
		out = append(out, oid.String())
	}
	return out
}
