package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
)

// SelfServing returns the successor of a certificate whose CA was made only for it and whose CA
// key was dropped at once, as the kubelet makes kubelet.crt: the new leaf for key k, followed
// by a new CA where oldChain carried one. Names, usages and the CA's kind of key stay. A
// self-signed certificate gets a self-signed successor with k. r.CA is ignored.
func SelfServing(oldChain []*x509.Certificate, k Key, r Renewal) ([]*x509.Certificate, error) {
	if len(oldChain) == 0 || k.Signer == nil {
		return nil, errors.New("renew self-made certificate: no certificate or no key")
	}
	r.CA = nil
	old := oldChain[0]
	r.Life = r.lifeLike(old) // its CA's as well
	template, err := SuccessorTemplate(old, r)
	if err != nil {
		return nil, err
	}
	if IsIssuedBy(old, old) {
		leaf, err := signSelf(template, k.Signer)
		if err != nil {
			return nil, err
		}
		return []*x509.Certificate{leaf}, nil
	}
	ca, caKey, err := throwawayCA(oldChain, k, r)
	if err != nil {
		return nil, err
	}
	leaf, err := SignTemplate(template, k.Signer.Public(), ca, caKey)
	if err != nil {
		return nil, err
	}
	if len(oldChain) == 1 {
		return []*x509.Certificate{leaf}, nil
	}
	return []*x509.Certificate{leaf, ca}, nil
}

// throwawayCA makes a new CA for a self-made leaf. If the old one is not available, it is made
// with the issuer name of the leaf.
func throwawayCA(oldChain []*x509.Certificate, leafKey Key, r Renewal) (*x509.Certificate, crypto.Signer, error) {
	like := &x509.Certificate{
		RawSubject: oldChain[0].RawIssuer,
		Subject:    oldChain[0].Issuer,
		KeyUsage:   x509.KeyUsageKeyEncipherment | x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	keyLike := signerLike(oldChain[0].SignatureAlgorithm, leafKey.Signer.Public())
	for _, c := range oldChain[1:] {
		if IsIssuedBy(oldChain[0], c) && IsIssuedBy(c, c) {
			like = c
			keyLike = c.PublicKey
			break
		}
	}
	template, err := SuccessorTemplate(like, r)
	if err != nil {
		return nil, nil, err
	}
	template.BasicConstraintsValid = true
	template.IsCA = true
	key, err := NewKeyLike(keyLike, "")
	if err != nil {
		return nil, nil, err
	}
	ca, err := signSelf(template, key.Signer)
	if err != nil {
		return nil, nil, err
	}
	return ca, key.Signer, nil
}

// signerLike returns a key of a kind that can make such signatures: fallback's kind if it can.
func signerLike(a x509.SignatureAlgorithm, fallback crypto.PublicKey) crypto.PublicKey {
	usual := map[x509.SignatureAlgorithm]crypto.PublicKey{
		x509.ECDSAWithSHA256: &ecdsa.PublicKey{Curve: elliptic.P256()},
		x509.ECDSAWithSHA384: &ecdsa.PublicKey{Curve: elliptic.P384()},
		x509.ECDSAWithSHA512: &ecdsa.PublicKey{Curve: elliptic.P521()},
		x509.PureEd25519:     ed25519.PublicKey{},
	}
	if signatureBy(fallback, a) != x509.UnknownSignatureAlgorithm || usual[a] == nil {
		return fallback
	}
	return usual[a]
}
