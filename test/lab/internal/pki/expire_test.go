package pki

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"math/big"
	"net"
	"testing"
	"time"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// issue makes a certificate; without a parent it signs itself.
func issue(t *testing.T, parent *Pair, template x509.Certificate) Pair {
	t.Helper()
	key, err := NewKey(ECDSA)
	if err != nil {
		t.Fatal(err)
	}
	template.SerialNumber = big.NewInt(7)
	template.NotBefore, template.NotAfter = now.Add(-time.Hour), now.Add(8760*time.Hour)
	template.BasicConstraintsValid = true
	if parent == nil {
		parent = &Pair{&template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, parent.Certificate, key.Public(), parent.Key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return Pair{certificate, key}
}

func keyPEM(t *testing.T, a Pair) string {
	t.Helper()
	text, err := KeyPEM(a.Key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func authority(name string) x509.Certificate {
	return x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
}

var serving = x509.Certificate{
	Subject:  pkix.Name{CommonName: "server", Organization: []string{"o"}},
	DNSNames: []string{"a.test"}, IPAddresses: []net.IP{net.IPv4(10, 0, 0, 1)},
	KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
}

func TestExpiredLeafDiffersInItsDatesOnly(t *testing.T) {
	ca := issue(t, nil, authority("ca"))
	leaf := issue(t, &ca, serving)
	e := Expirer{NotAfter: now.Add(-time.Minute)}
	e.Learn([]byte(keyPEM(t, ca)))
	e.Learn([]byte(CertificatePEM(ca.Certificate)))
	file := "# a comment\n" + CertificatePEM(leaf.Certificate, ca.Certificate) + keyPEM(t, leaf)

	out, leaves := e.Expire([]byte(file))

	if len(leaves) != 1 || leaves[0].Problem != "" {
		t.Fatalf("leaves are %+v, want the one of the file", leaves)
	}
	got := parseCertificates(out)[0]
	if err := got.CheckSignatureFrom(ca.Certificate); err != nil {
		t.Errorf("the CA has not signed it: %v", err)
	}
	if !got.NotAfter.Equal(e.NotAfter) || got.NotAfter.Sub(got.NotBefore) != leaf.Certificate.NotAfter.Sub(leaf.Certificate.NotBefore) {
		t.Errorf("it is valid from %s to %s", got.NotBefore, got.NotAfter)
	}
	if !bytes.Equal(got.RawSubject, leaf.Certificate.RawSubject) || !bytes.Equal(got.RawSubjectPublicKeyInfo, leaf.Certificate.RawSubjectPublicKeyInfo) {
		t.Error("its subject or key is another")
	}
	if len(got.Extensions) != len(leaf.Certificate.Extensions) {
		t.Fatalf("it has %d extensions, want %d", len(got.Extensions), len(leaf.Certificate.Extensions))
	}
	for i, want := range leaf.Certificate.Extensions {
		if !got.Extensions[i].Id.Equal(want.Id) || !bytes.Equal(got.Extensions[i].Value, want.Value) || got.Extensions[i].Critical != want.Critical {
			t.Errorf("extension %d is %v, want %v", i, got.Extensions[i], want)
		}
	}
	if want := "# a comment\n" + CertificatePEM(got, ca.Certificate) + keyPEM(t, leaf); string(out) != want {
		t.Errorf("the file is\n%s\nwant\n%s", out, want)
	}
}

func TestKubeconfigGetsTheSameExpiredLeafAsTheFile(t *testing.T) {
	ca := issue(t, nil, authority("ca"))
	leaf := issue(t, &ca, serving)
	e := Expirer{NotAfter: now}
	e.Learn([]byte(CertificatePEM(ca.Certificate) + keyPEM(t, ca)))
	file, _ := e.Expire([]byte(CertificatePEM(leaf.Certificate)))
	config := func(pem []byte) string {
		return "users:\n- user:\n    client-certificate-data: " + base64.StdEncoding.EncodeToString(pem) + "\n    client-key-data: eA==\n"
	}

	out, leaves := e.Expire([]byte(config([]byte(CertificatePEM(leaf.Certificate)))))

	if len(leaves) != 1 || string(out) != config(file) {
		t.Errorf("%d leaves, kubeconfig\n%s\nwant\n%s", len(leaves), out, config(file))
	}
}

func TestSelfMadeCAIsReplacedWithItsLeaf(t *testing.T) {
	ca := issue(t, nil, authority("node-ca@1"))
	leaf := issue(t, &ca, serving)
	e := Expirer{NotAfter: now}

	out, leaves := e.Expire([]byte(CertificatePEM(leaf.Certificate, ca.Certificate)))

	if len(leaves) != 1 || leaves[0].Problem != "" {
		t.Fatalf("leaves are %+v", leaves)
	}
	got := parseCertificates(out)
	if err := got[0].CheckSignatureFrom(got[1]); err != nil {
		t.Error(err)
	}
	for i, want := range []*x509.Certificate{leaf.Certificate, ca.Certificate} {
		if !bytes.Equal(got[i].RawSubject, want.RawSubject) || !got[i].NotAfter.Equal(now) {
			t.Errorf("%s is valid until %s", got[i].Subject, got[i].NotAfter)
		}
	}
}

func TestLeafOfAnUnknownCAStaysAndIsReported(t *testing.T) {
	ca := issue(t, nil, authority("ca"))
	leaf := issue(t, &ca, serving)
	file := CertificatePEM(leaf.Certificate)
	e := Expirer{NotAfter: now}

	out, leaves := e.Expire([]byte(file))

	if string(out) != file || len(leaves) != 1 || leaves[0].Problem != `the key of its CA "CN=ca" is on no node` {
		t.Errorf("leaves are %+v, the file is\n%s", leaves, out)
	}
}
