package pki

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"regexp"
	"time"
)

// Expirer signs leaf certificates again so that they have expired: with the
// same key, subject and extensions, by the same CA, with earlier dates. A leaf
// that is in several files stays the same in all of them.
type Expirer struct {
	NotAfter time.Time // of all that is signed
	CAs      []Pair
	keys     []crypto.Signer
	found    []*x509.Certificate // CAs whose keys are not known (yet)
	expired  map[string]*x509.Certificate
	replaced map[string]*x509.Certificate // CAs that kubelets made for themselves
}

// Pair is a certificate with its key.
type Pair struct {
	Certificate *x509.Certificate
	Key         crypto.Signer
}

// Learn remembers the CAs and keys of a file. All files are learnt from before
// the first is expired: the key of a CA can be on another node.
func (e *Expirer) Learn(text []byte) {
	e.keys = append(e.keys, parseKeys(text)...)
	for _, certificate := range parseCertificates(text) {
		if certificate.IsCA {
			e.found = append(e.found, certificate)
		}
	}
}

// Leaf is a certificate that a file was given in the place of another, or
// would have been.
type Leaf struct {
	Subject string
	Problem string // why it stays as it is; "" when it it has expired now
}

// embedded finds the certificate in a kubeconfig.
var embedded = regexp.MustCompile(`client-certificate-data:\s*"?([A-Za-z0-9+/=]+)"?`)

// Expire returns the text of a file, PEM or kubeconfig, with expired leaf
// certificates; all else of it stays.
func (e *Expirer) Expire(text []byte) ([]byte, []Leaf) {
	e.match()
	var leaves []Leaf
	expirePEM := func(text []byte) []byte {
		out, found := e.expirePEM(text)
		leaves = append(leaves, found...)
		return out
	}
	text = embedded.ReplaceAllFunc(text, func(field []byte) []byte {
		encoded := embedded.FindSubmatch(field)[1]
		data, err := base64.StdEncoding.DecodeString(string(encoded))
		if err != nil {
			return field
		}
		return bytes.Replace(field, encoded, []byte(base64.StdEncoding.EncodeToString(expirePEM(data))), 1)
	})
	return expirePEM(text), leaves
}

// match pairs the CAs that were found with the keys that were found.
func (e *Expirer) match() {
	for _, ca := range e.found {
		for _, key := range e.keys {
			if samePublicKey(ca, key) {
				e.CAs = append(e.CAs, Pair{ca, key})
				break
			}
		}
	}
	e.found = nil
}

// expirePEM replaces the certificates of a PEM text one by one.
func (e *Expirer) expirePEM(text []byte) ([]byte, []Leaf) {
	certificates := parseCertificates(text)
	var leaves []Leaf
	for _, certificate := range certificates {
		if certificate.IsCA {
			continue
		}
		leaf := Leaf{Subject: certificate.Subject.String()}
		expired, err := e.resigned(certificate, certificates)
		if err != nil {
			leaf.Problem = err.Error()
		} else if !bytes.Contains(text, pemOf(certificate)) {
			leaf.Problem = "its PEM text is not in the usual form"
		} else {
			text = bytes.Replace(text, pemOf(certificate), pemOf(expired), 1)
		}
		leaves = append(leaves, leaf)
	}
	for _, ca := range certificates {
		if selfMade := e.replaced[string(ca.Raw)]; selfMade != nil {
			text = bytes.Replace(text, pemOf(ca), pemOf(selfMade), 1)
		}
	}
	return text, leaves
}

func pemOf(certificate *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
}

// resigned returns the expired form of a leaf that is in a file with others.
func (e *Expirer) resigned(leaf *x509.Certificate, file []*x509.Certificate) (*x509.Certificate, error) {
	if expired := e.expired[string(leaf.Raw)]; expired != nil {
		return expired, nil
	}
	ca, err := e.issuerOf(leaf, file)
	if err != nil {
		return nil, err
	}
	expired, err := sign(leaf, ca, e.NotAfter)
	if err != nil {
		return nil, err
	}
	if e.expired == nil {
		e.expired = map[string]*x509.Certificate{}
	}
	e.expired[string(leaf.Raw)] = expired
	return expired, nil
}

// issuerOf finds the CA of a leaf. A kubelet makes a CA for its own serving
// certificate and forgets the key; in its place comes one like it, with a new key.
func (e *Expirer) issuerOf(leaf *x509.Certificate, file []*x509.Certificate) (Pair, error) {
	for _, ca := range e.CAs {
		if leaf.CheckSignatureFrom(ca.Certificate) == nil {
			return ca, nil
		}
	}
	for _, ca := range file {
		if ca.IsCA && ca.CheckSignatureFrom(ca) == nil && leaf.CheckSignatureFrom(ca) == nil {
			return e.replaceSelfMade(ca)
		}
	}
	return Pair{}, fmt.Errorf("the key of its CA %q is on no node", leaf.Issuer)
}

func (e *Expirer) replaceSelfMade(ca *x509.Certificate) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, err
	}
	template := *ca
	template.PublicKey, template.RawSubjectPublicKeyInfo = nil, nil
	// The subject key id stays: the leaf names its issuer by it.
	template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	template.NotBefore, template.NotAfter = shifted(ca, e.NotAfter)
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("make a CA like %q: %w", ca.Subject, err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		return Pair{}, err
	}
	if e.replaced == nil {
		e.replaced = map[string]*x509.Certificate{}
	}
	e.replaced[string(ca.Raw)] = made
	return Pair{made, key}, nil
}

// sign returns a certificate like leaf, with the same lifetime, that ends at notAfter.
func sign(leaf *x509.Certificate, ca Pair, notAfter time.Time) (*x509.Certificate, error) {
	template := *leaf
	template.ExtraExtensions = leaf.Extensions // byte for byte, instead of those that Go would make
	template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	template.NotBefore, template.NotAfter = shifted(leaf, notAfter)
	var err error
	if template.SerialNumber, err = newSerialNumber(); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.Certificate, leaf.PublicKey, ca.Key)
	if err != nil {
		return nil, fmt.Errorf("sign %q again: %w", leaf.Subject, err)
	}
	return x509.ParseCertificate(der)
}

func shifted(certificate *x509.Certificate, notAfter time.Time) (from, to time.Time) {
	lifetime := certificate.NotAfter.Sub(certificate.NotBefore)
	return notAfter.Add(-lifetime), notAfter
}
