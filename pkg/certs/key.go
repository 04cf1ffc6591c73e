package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// The PEM labels of private keys that are read and written.
const (
	PKCS1 = "RSA PRIVATE KEY"
	SEC1  = "EC PRIVATE KEY"
	PKCS8 = "PRIVATE KEY"
)

// maxRSABits limits the keys that [NewKeyLike] generates: crypto/tls refuses larger keys, and a
// hostile certificate must not cost hours.
const maxRSABits = 8192

// usualRSABits is the size of a new RSA key in the place of one that is too small for Go: kubeadm's.
const usualRSABits = 2048

// ErrEncryptedKey means that a private key is encrypted with a passphrase.
var ErrEncryptedKey = errors.New("private key is encrypted with a passphrase; Kubernetes components cannot load such keys either")

// redacted is printed instead of a key.
const redacted = "key(redacted)"

// Key is a private key with its encoding. No way of printing, logging or marshalling it reveals
// the key.
type Key struct {
	// Signer is a *rsa.PrivateKey, a *ecdsa.PrivateKey or, around an Ed25519 key, a
	// type of this package; nil in the zero value.
	Signer crypto.Signer
	// BlockType is the PEM label: [PKCS1], [SEC1] or [PKCS8].
	BlockType string
}

// String shows nothing of the key.
func (Key) String() string { return redacted }

// GoString shows nothing of the key.
func (Key) GoString() string { return redacted }

// Format shows nothing of the key, with any verb.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalJSON shows nothing of the key.
func (Key) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText shows nothing of the key.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue shows nothing of the key.
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }

// edSigner keeps an Ed25519 key, a plain slice of bytes, behind two pointers. Where
// package fmt cannot call Key's methods, as for a Key in an unexported field, it
// follows at most one and shows an address for the next.
type edSigner struct{ key *ed25519.PrivateKey }

func (s *edSigner) Public() crypto.PublicKey { return s.key.Public() }

func (s *edSigner) Sign(random io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	return s.key.Sign(random, message, opts)
}

// ParseKeyPEM returns the first private key of a PEM text; other blocks, such as
// certificates and EC parameters, are skipped. Keys are RSA, ECDSA or Ed25519 in
// PKCS #1, SEC 1 or PKCS #8, as crypto/tls accepts them. No error repeats any of
// the input.
func ParseKeyPEM(data []byte) (Key, error) {
	for {
		var block *pem.Block
		block, data = pem.Decode(data)
		if block == nil {
			return Key{}, errors.New("no private key block in PEM data")
		}
		if block.Type != PKCS8 && !strings.HasSuffix(block.Type, " "+PKCS8) {
			continue
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED") {
			return Key{}, ErrEncryptedKey
		}
		signer, err := parseKeyDER(block.Bytes)
		if err != nil {
			return Key{}, err
		}
		return Key{Signer: signer, BlockType: blockTypeFor(signer.Public(), block.Type)}, nil
	}
}

// parseKeyDER tries the encodings in the order of crypto/tls, which ignores the label as well.
func parseKeyDER(der []byte) (crypto.Signer, error) {
	if k, err := x509.ParsePKCS1PrivateKey(der); err == nil {
		return k, nil
	}
	if k, err := x509.ParsePKCS8PrivateKey(der); err == nil {
		switch k := k.(type) {
		case *rsa.PrivateKey:
			return k, nil
		case *ecdsa.PrivateKey:
			return k, nil
		case ed25519.PrivateKey:
			return &edSigner{&k}, nil
		}
		return nil, fmt.Errorf("private key algorithm %T is not supported", k)
	}
	if k, err := x509.ParseECPrivateKey(der); err == nil {
		return k, nil
	}
	return nil, errors.New("private key is damaged or of an unknown kind")
}

// FitsCert reports whether the key is the one that the certificate was made for.
func (k Key) FitsCert(c *x509.Certificate) bool {
	return k.Signer != nil && c != nil && samePublicKey(k.Signer.Public(), c.PublicKey)
}

// PEM encodes the key with its BlockType.
func (k Key) PEM() ([]byte, error) {
	var der []byte
	var err error
	switch {
	case k.Signer == nil:
		return nil, errors.New("encode private key: there is none")
	case k.BlockType == PKCS1:
		rsaKey, ok := k.Signer.(*rsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("encode private key: %T cannot be written as %q", k.Signer, PKCS1)
		}
		der = x509.MarshalPKCS1PrivateKey(rsaKey)
	case k.BlockType == SEC1:
		ecKey, ok := k.Signer.(*ecdsa.PrivateKey)
		if !ok {
			return nil, fmt.Errorf("encode private key: %T cannot be written as %q", k.Signer, SEC1)
		}
		der, err = x509.MarshalECPrivateKey(ecKey)
	case k.BlockType == PKCS8:
		der, err = marshalPKCS8(k.Signer)
	default:
		return nil, fmt.Errorf("encode private key: unknown PEM block type %q", k.BlockType)
	}
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: k.BlockType, Bytes: der}), nil
}

func marshalPKCS8(signer crypto.Signer) ([]byte, error) {
	if k, ok := signer.(*edSigner); ok {
		return x509.MarshalPKCS8PrivateKey(*k.key)
	}
	return x509.MarshalPKCS8PrivateKey(signer)
}

// NewKeyLike generates a new key of the same algorithm and size, or of 2048 bits where Go refuses
// an RSA key of that size. Where blockType
// cannot hold that algorithm, or is empty, the usual one is taken: PKCS #1 for RSA,
// SEC 1 for ECDSA, PKCS #8 for Ed25519.
func NewKeyLike(pub crypto.PublicKey, blockType string) (Key, error) {
	var signer crypto.Signer
	var err error
	switch p := pub.(type) {
	case *rsa.PublicKey:
		// A modulus may fall short of its nominal size by some bits.
		bits := (p.N.BitLen() + 7) / 8 * 8
		if bits < minRSABits {
			bits = usualRSABits
		}
		if bits > maxRSABits {
			return Key{}, fmt.Errorf("generate RSA key: %d bits are more than the %d that TLS allows", bits, maxRSABits)
		}
		signer, err = rsa.GenerateKey(rand.Reader, bits)
	case *ecdsa.PublicKey:
		signer, err = ecdsa.GenerateKey(p.Curve, rand.Reader)
	case ed25519.PublicKey:
		var k ed25519.PrivateKey
		_, k, err = ed25519.GenerateKey(rand.Reader)
		signer = &edSigner{&k}
	default:
		return Key{}, fmt.Errorf("generate private key: unsupported algorithm %T", pub)
	}
	if err != nil {
		return Key{}, fmt.Errorf("generate %s key: %w", KeyAlgorithm(pub), err)
	}
	return Key{Signer: signer, BlockType: blockTypeFor(pub, blockType)}, nil
}

// blockTypeFor returns wanted where it can hold the algorithm, else the usual label.
func blockTypeFor(pub crypto.PublicKey, wanted string) string {
	usual := PKCS8
	switch pub.(type) {
	case *rsa.PublicKey:
		usual = PKCS1
	case *ecdsa.PublicKey:
		usual = SEC1
	}
	if wanted == PKCS8 {
		return PKCS8
	}
	return usual
}

func samePublicKey(a, b crypto.PublicKey) bool {
	key, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && key.Equal(b)
}
