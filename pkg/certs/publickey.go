package certs

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
)

// PublicKeySHA256 identifies a key: it returns the lower-case hex SHA-256 of the public
// key's DER SubjectPublicKeyInfo, or "" for a kind of key that cannot be encoded so.
func PublicKeySHA256(pub crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// ParsePublicKeysPEM returns the public key of every block of a PEM text that holds one:
// of private keys, public keys and certificates, as the API server reads the files of
// --service-account-key-file (client-go's keyutil.ParsePublicKeysPEM). Other blocks are
// skipped. It is an error when there is none; the error repeats nothing of the input.
func ParsePublicKeysPEM(data []byte) ([]crypto.PublicKey, error) {
	var out []crypto.PublicKey
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			break
		}
		if pub := publicKeyDER(block.Bytes); pub != nil {
			out = append(out, pub)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no private key, public key or certificate in PEM data")
	}
	return out, nil
}

// publicKeyDER ignores the block's label, as keyutil does.
func publicKeyDER(der []byte) crypto.PublicKey {
	if signer, err := parseKeyDER(der); err == nil {
		return signer.Public()
	}
	if pub, err := x509.ParsePKIXPublicKey(der); err == nil {
		return pub
	}
	if pub, err := x509.ParsePKCS1PublicKey(der); err == nil {
		return pub
	}
	if c, err := x509.ParseCertificate(der); err == nil {
		return c.PublicKey
	}
	return nil
}
