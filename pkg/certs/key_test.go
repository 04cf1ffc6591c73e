package certs_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

func TestKeyKeepsItsEncoding(t *testing.T) {
	for _, test := range []struct {
		name      string
		like      crypto.PublicKey
		block     string
		algorithm string
		want      string // block type
	}{
		{"RSA in PKCS 1", certstest.RSA2048, certs.PKCS1, "RSA-2048", certs.PKCS1},
		{"RSA in PKCS 8", certstest.RSA2048, certs.PKCS8, "RSA-2048", certs.PKCS8},
		{"RSA by default", certstest.RSA2048, "", "RSA-2048", certs.PKCS1},
		{"ECDSA in SEC 1", certstest.ECDSAP256, certs.SEC1, "ECDSA-P-256", certs.SEC1},
		{"ECDSA in PKCS 8", certstest.ECDSAP384, certs.PKCS8, "ECDSA-P-384", certs.PKCS8},
		{"ECDSA by default", certstest.ECDSAP384, "", "ECDSA-P-384", certs.SEC1},
		{"Ed25519 in PKCS 8", certstest.Ed25519, certs.PKCS8, "Ed25519", certs.PKCS8},
		{"Ed25519 by default", certstest.Ed25519, "", "Ed25519", certs.PKCS8},
		{"ECDSA where an RSA key lay", certstest.ECDSAP256, certs.PKCS1, "ECDSA-P-256", certs.SEC1},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := certs.NewKeyLike(test.like, test.block)
			require.NoError(t, err)
			assert.Equal(t, test.algorithm, certs.KeyAlgorithm(key.Signer.Public()))

			text, err := key.PEM()
			require.NoError(t, err)
			block, rest := pem.Decode(text)
			assert.Equal(t, test.want, block.Type)
			assert.Empty(t, rest)

			again, err := certs.ParseKeyPEM(text)
			require.NoError(t, err)
			assert.Equal(t, test.want, again.BlockType)
			same, err := again.PEM()
			require.NoError(t, err)
			assert.Equal(t, text, same, "parsed and encoded again")
		})
	}
}

func TestNewKeyIsNew(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	old := ca.Leaf(t)
	key, err := certs.NewKeyLike(old.Leaf().PublicKey, old.Key.BlockType)
	require.NoError(t, err)
	assert.True(t, old.Key.FitsCert(old.Leaf()))
	assert.False(t, key.FitsCert(old.Leaf()))
	assert.False(t, certs.Key{}.FitsCert(old.Leaf()), "no key fits nothing")
}

func TestNewKeyRefusesHugeKeys(t *testing.T) {
	huge := &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 65535), E: 65537}
	_, err := certs.NewKeyLike(huge, "")
	assert.ErrorContains(t, err, "65536 bits are more than the 8192 that TLS allows")
	_, err = certs.NewKeyLike("no key", "")
	assert.ErrorContains(t, err, "unsupported algorithm string")
}

func TestParseKeyPEM(t *testing.T) {
	p := certstest.NewCA(t, "ca").Leaf(t, certstest.WithKey(certstest.ECDSAP256, certs.SEC1))
	keyPEM := p.KeyPEM(t)
	block, _ := pem.Decode(keyPEM)
	params := pem.EncodeToMemory(&pem.Block{Type: "EC PARAMETERS", Bytes: []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}})
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	require.NoError(t, err)
	p224DER, err := x509.MarshalPKCS8PrivateKey(p224)
	require.NoError(t, err)

	for _, test := range []struct {
		name  string
		text  []byte
		block string
		err   string
	}{
		{"after EC parameters, as openssl writes", append(params, keyPEM...), certs.SEC1, ""},
		{"after certificates, as in kubelet-client-current.pem", append(p.CertPEM(), keyPEM...), certs.SEC1, ""},
		{"between other text", []byte("Bag Attributes\n" + string(keyPEM) + "\ntail"), certs.SEC1, ""},
		{"under a label of another encoding", encodeKey(certs.PKCS8, block.Bytes), certs.PKCS8, ""},
		{"on a rare curve", encodeKey(certs.PKCS8, p224DER), certs.PKCS8, ""},
		{"nothing", nil, "", "no private key block"},
		{"only a certificate", p.CertPEM(), "", "no private key block"},
		{"damaged", encodeKey(certs.PKCS1, []byte("garbage")), "", "damaged or of an unknown kind"},
		{"truncated", keyPEM[:len(keyPEM)/2], "", "no private key block"},
		{"encrypted PKCS 8", encodeKey("ENCRYPTED PRIVATE KEY", block.Bytes), "", "encrypted with a passphrase"},
		{"encrypted the old way", pem.EncodeToMemory(&pem.Block{
			Type: certs.SEC1, Bytes: block.Bytes,
			Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"},
		}), "", "encrypted with a passphrase"},
		{"a kind that TLS has no use for", encodeKey("OPENSSH PRIVATE KEY", []byte("openssh-key-v1")), "", "unknown kind"},
	} {
		t.Run(test.name, func(t *testing.T) {
			key, err := certs.ParseKeyPEM(test.text)
			if test.err != "" {
				require.ErrorContains(t, err, test.err)
				assert.Nil(t, key.Signer)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, test.block, key.BlockType)
		})
	}
}

func TestKeyRefusesAnEncodingThatCannotHoldIt(t *testing.T) {
	key, err := certs.NewKeyLike(certstest.Ed25519, "")
	require.NoError(t, err)
	for _, block := range []string{certs.PKCS1, certs.SEC1, "", "CERTIFICATE"} {
		key.BlockType = block
		_, err := key.PEM()
		assert.Error(t, err, block)
	}
	_, err = certs.Key{BlockType: certs.PKCS8}.PEM()
	assert.ErrorContains(t, err, "there is none")
}

// TestKeyNeverShows prints, logs and marshals keys in every way and searches the output for the
// secret numbers.
func TestKeyNeverShows(t *testing.T) {
	for _, like := range []crypto.PublicKey{certstest.RSA2048, certstest.ECDSAP256, certstest.Ed25519} {
		made, err := certs.NewKeyLike(like, "")
		require.NoError(t, err)
		text, err := made.PEM()
		require.NoError(t, err)
		key, err := certs.ParseKeyPEM(text)
		require.NoError(t, err)
		t.Run(certs.KeyAlgorithm(key.Signer.Public()), func(t *testing.T) {
			canaries := canariesOf(t, key)
			type exported struct {
				Key   certs.Key
				Deep  *certs.Key
				Chain []certs.Key
			}
			type hidden struct{ key certs.Key }
			values := map[string]any{
				"value": key, "generated": made, "pointer": &key, "slice": []certs.Key{key},
				"map": map[string]certs.Key{"k": key}, "struct": exported{key, &key, []certs.Key{key}},
				"unexported field": hidden{key}, "pointer to it": &hidden{key}, "generated, unexported": hidden{made}, "error": fmt.Errorf("key %v", key),
			}
			for name, value := range values {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
					expectNoCanary(t, canaries, name+" "+verb, fmt.Sprintf(verb, value))
				}
				var log strings.Builder
				slog.New(slog.NewTextHandler(&log, nil)).Info("m", "k", value)
				slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "k", value)
				expectNoCanary(t, canaries, name+" log", log.String())
				asJSON, err := json.Marshal(value)
				require.NoError(t, err)
				expectNoCanary(t, canaries, name+" JSON", string(asJSON))
				asYAML, err := yaml.Marshal(value)
				require.NoError(t, err)
				expectNoCanary(t, canaries, name+" YAML", string(asYAML))
			}
			assert.Equal(t, "key(redacted)", key.String())
			assert.Equal(t, "key(redacted)", fmt.Sprintf("%#v", key))
			assert.NotEmpty(t, findCanary(canaries, string(text)), "the search itself works")
		})
	}
}

// canariesOf is the key's secret in the notations in which it could show.
func canariesOf(t *testing.T, key certs.Key) []string {
	t.Helper()
	text, err := key.PEM()
	require.NoError(t, err)
	block, _ := pem.Decode(text)
	// The last octets belong to the secret for PKCS 8 Ed25519 and RSA, and to the
	// public point for SEC 1: take those in the middle of the scalar there.
	secret := block.Bytes[len(block.Bytes)-24:]
	if block.Type == certs.SEC1 {
		secret = block.Bytes[10:34]
	}
	decimal := strings.Trim(fmt.Sprint(secret[:12]), "[]")
	goSyntax := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", secret[:8]), "[]byte{"), "}")
	canaries := []string{hex.EncodeToString(secret[:12]), strings.ToUpper(hex.EncodeToString(secret[:12])), decimal, goSyntax, "-----BEGIN"}
	switch k := key.Signer.(type) {
	case *rsa.PrivateKey:
		canaries = append(canaries, k.D.String()[:40], k.Primes[0].String()[:40], k.D.Text(16)[:40])
	case *ecdsa.PrivateKey:
		raw, err := k.Bytes()
		require.NoError(t, err)
		d := new(big.Int).SetBytes(raw)
		canaries = append(canaries, d.String()[:40], d.Text(16)[:40])
	}
	return canaries
}

func findCanary(canaries []string, text string) string {
	for _, c := range canaries {
		if strings.Contains(text, c) {
			return c
		}
	}
	return ""
}

func expectNoCanary(t *testing.T, canaries []string, where, text string) {
	t.Helper()
	if findCanary(canaries, text) != "" {
		t.Errorf("%s shows the key", where)
	}
}

// TestKeysServeTLS verifies that every kind works where it is used: in a TLS handshake.
func TestKeysServeTLS(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	for _, like := range []crypto.PublicKey{certstest.RSA2048, certstest.ECDSAP256, certstest.Ed25519} {
		p := ca.Leaf(t, certstest.WithKey(like, ""), certstest.SANs("example.com"))
		t.Run(certs.KeyAlgorithm(p.Leaf().PublicKey), func(t *testing.T) {
			client, server := net.Pipe()
			done := make(chan error, 1)
			go func() {
				done <- tls.Server(server, &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{{
					Certificate: [][]byte{p.Leaf().Raw}, PrivateKey: p.Key.Signer,
				}}}).HandshakeContext(t.Context())
			}()
			conn := tls.Client(client, &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: poolOf(ca.Cert), ServerName: "example.com"})
			require.NoError(t, conn.HandshakeContext(t.Context()))
			require.NoError(t, <-done)
		})
	}
}

func encodeKey(blockType string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: blockType, Bytes: der})
}
