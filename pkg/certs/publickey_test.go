package certs_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
)

func TestOneKeyHasOneNameInEveryEncoding(t *testing.T) {
	for name, kind := range map[string]any{"ECDSA": certstest.ECDSAP256, "RSA": certstest.RSA2048, "Ed25519": certstest.Ed25519} {
		t.Run(name, func(t *testing.T) {
			p := certstest.NewCA(t, "ca").Leaf(t, certstest.WithKey(kind, ""))
			der, err := x509.MarshalPKIXPublicKey(p.Leaf().PublicKey)
			if err != nil {
				t.Fatal(err)
			}
			want := certs.PublicKeySHA256(p.Leaf().PublicKey)
			for form, data := range map[string][]byte{
				"private key": p.KeyPEM(t), "certificate": p.CertPEM(),
				"public key": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
			} {
				keys, err := certs.ParsePublicKeysPEM(data)
				if err != nil {
					t.Errorf("%s: %v", form, err)
					continue
				}
				if got := certs.PublicKeySHA256(keys[0]); want == "" || got != want {
					t.Errorf("%s: %q, want %q", form, got, want)
				}
			}
		})
	}
}

func TestEveryKeyOfAFileIsRead(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	a := ca.Leaf(t)
	b := ca.Leaf(t)
	keys, err := certs.ParsePublicKeysPEM(append(append([]byte("# old\n"), a.CertPEM()...), b.KeyPEM(t)...))
	if err != nil || len(keys) != 2 {
		t.Fatalf("%d keys, %v; want 2", len(keys), err)
	}
	if certs.PublicKeySHA256(keys[1]) != certs.PublicKeySHA256(b.Leaf().PublicKey) {
		t.Error("the second key is not the second block's")
	}
	secret := "SECRETSECRET"
	if _, err := certs.ParsePublicKeysPEM([]byte(secret)); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("no keys at all: %v", err)
	}
}
