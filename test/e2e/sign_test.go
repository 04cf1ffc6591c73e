//go:build e2e

package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// resigned is a certificate like another, of the same key, with other dates.
func resigned(t *testing.T, old, ca identity, from, to time.Time) *x509.Certificate {
	t.Helper()
	template := *old.leaf
	template.SerialNumber, _ = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	template.NotBefore, template.NotAfter = from, to
	template.SignatureAlgorithm = x509.UnknownSignatureAlgorithm
	der, err := x509.CreateCertificate(rand.Reader, &template, ca.leaf, old.key.Public(), ca.key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return leaf
}

// withCertificate is a file, PEM or kubeconfig, with another certificate in the place of its
// first; all else stays.
func withCertificate(t *testing.T, path string, data []byte, leaf *x509.Certificate) []byte {
	t.Helper()
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	if isKubeconfig(path) {
		m := clientCertificate.FindSubmatchIndex(data)
		require.NotNil(t, m, "%s holds a certificate", path)
		return bytes.Join([][]byte{data[:m[2]], []byte(base64.StdEncoding.EncodeToString(text)), data[m[3]:]}, nil)
	}
	var out []byte
	replaced := false
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" && !replaced {
			block, replaced = &pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw}, true
		}
		out = append(out, pem.EncodeToMemory(block)...)
	}
	require.True(t, replaced, "%s holds a certificate", path)
	return out
}

// withKey is a kubeconfig with another private key.
func withKey(t *testing.T, data []byte, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	m := clientKey.FindSubmatchIndex(data)
	require.NotNil(t, m, "it holds a key")
	return bytes.Join([][]byte{data[:m[2]], []byte(base64.StdEncoding.EncodeToString(keyPEM(t, key))), data[m[3]:]}, nil)
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return key
}

func keyPEM(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalECPrivateKey(key)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
}

// put gives a file on a node another content, and leaves its owner and mode.
func (l *lab) put(t *testing.T, node, path string, data []byte) {
	t.Helper()
	l.on(t, node, fmt.Sprintf("f=$(readlink -f '%s') && { [ ! -e \"$f\" ] || cp -p \"$f\" \"$f.new\"; } && echo %s | base64 -d > \"$f.new\" && mv \"$f.new\" \"$f\"",
		path, base64.StdEncoding.EncodeToString(data)))
}
