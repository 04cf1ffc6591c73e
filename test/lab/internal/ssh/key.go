// Package ssh makes the keys and files by which a client of a lab and the sshd
// of its nodes know each other.
package ssh

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"fmt"
)

// algorithm is the name of these keys in ssh's files, and curve that of theirs.
const (
	algorithm = "ecdsa-sha2-nistp256"
	curve     = "nistp256"
)

// Key is the key pair of a client or a host.
type Key struct {
	Private string // PEM, as OpenSSH reads it
	Public  string // algorithm and key, as in authorized_keys
}

// NewKey makes a key pair.
func NewKey() (Key, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("make an ssh key: %w", err)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return Key{}, fmt.Errorf("make an ssh key: %w", err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return Key{}, fmt.Errorf("make an ssh key: %w", err)
	}
	return Key{
		Private: string(pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})),
		Public:  algorithm + " " + base64.StdEncoding.EncodeToString(wireFormat(algorithm, curve, string(point))),
	}, nil
}

// wireFormat is a list of strings, each behind its length, as RFC 4251 has it.
func wireFormat(fields ...string) []byte {
	var out []byte
	for _, field := range fields {
		out = binary.BigEndian.AppendUint32(out, uint32(len(field)))
		out = append(out, field...)
	}
	return out
}
