package certs

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"math/big"
)

// minRSABits is the size of the smallest RSA key that Go accepts: GODEBUG rsa1024min of package
// crypto/rsa.
const minRSABits = 1024

// RefusedText is in the reason of every certificate that Go refuses because of its key or its
// signature.
const RefusedText = ", which Go programs such as kube-apiserver refuse"

// Since when Go refuses, in releases of Kubernetes built with it.
const (
	refusesSHA1     = RefusedText + " (since Kubernetes 1.24)"
	refusesSmallRSA = RefusedText + " (since Kubernetes 1.33)"
	refuses         = RefusedText
)

// RefusedKey returns why Go's TLS refuses a public key; empty: it does not.
func RefusedKey(pub crypto.PublicKey) string {
	if k, isRSA := pub.(*rsa.PublicKey); isRSA && k.N.BitLen() < minRSABits {
		return fmt.Sprintf("has an RSA key of %d bits%s", k.N.BitLen(), refusesSmallRSA)
	}
	return ""
}

// RefusedSignature returns why crypto/x509 refuses the signature of a certificate, whichever CA made
// it; empty: it does not.
func RefusedSignature(c *x509.Certificate) string {
	switch a := c.SignatureAlgorithm; a {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1:
		return fmt.Sprintf("is signed with %s%s", a, refusesSHA1)
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.DSAWithSHA1, x509.DSAWithSHA256:
		return fmt.Sprintf("is signed with %s%s", a, refuses)
	case x509.UnknownSignatureAlgorithm:
		return "is signed with an algorithm that is not known to Go" + refuses
	case x509.PureEd25519, x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512:
		return ""
	}
	if bits := 8 * len(c.Signature); bits < minRSABits { // as long as the key
		return fmt.Sprintf("is signed with an RSA key of %d bits%s", bits, refusesSmallRSA)
	}
	return ""
}

// signedBy verifies a signature of RSA that crypto/x509 refuses, MD5 or that of a small key, to
// find the signer. Nothing is trusted because of it. crypto/x509 links all of these hashes.
func signedBy(c *x509.Certificate, pub *rsa.PublicKey) bool {
	hash, known := map[x509.SignatureAlgorithm]crypto.Hash{
		x509.MD5WithRSA: crypto.MD5, x509.SHA1WithRSA: crypto.SHA1, x509.SHA256WithRSA: crypto.SHA256,
		x509.SHA384WithRSA: crypto.SHA384, x509.SHA512WithRSA: crypto.SHA512,
	}[c.SignatureAlgorithm]
	refused := c.SignatureAlgorithm == x509.MD5WithRSA || pub.N.BitLen() < minRSABits
	if !known || !hash.Available() || !refused || pub.N.Sign() <= 0 || len(c.Signature) != (pub.N.BitLen()+7)/8 {
		return false
	}
	h := hash.New()
	h.Write(c.RawTBSCertificate)
	// PKCS #1 v1.5: 0x00 0x01 0xff … 0x00, the algorithm, the hash.
	message := new(big.Int).Exp(new(big.Int).SetBytes(c.Signature), big.NewInt(int64(pub.E)), pub.N).Bytes()
	return bytes.HasPrefix(message, []byte{1, 0xff, 0xff}) && bytes.HasSuffix(message, h.Sum(nil))
}
