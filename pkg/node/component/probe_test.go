package component

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// keyPair is a certificate as crypto/tls takes it.
func keyPair(p certstest.Pair) tls.Certificate {
	out := tls.Certificate{PrivateKey: p.Key.Signer, Leaf: p.Leaf()}
	for _, c := range p.Chain {
		out.Certificate = append(out.Certificate, c.Raw)
	}
	return out
}

// serveTLS starts a TLS server with a certificate for 127.0.0.1 and returns its address.
func serveTLS(t *testing.T, ca certstest.CA, conf *tls.Config, handler http.HandlerFunc) (addr string, serving *x509.Certificate) {
	t.Helper()
	pair := ca.Leaf(t, certstest.Name("server"), certstest.SANs("127.0.0.1"))
	conf.Certificates = append(conf.Certificates, keyPair(pair))
	s := httptest.NewUnstartedServer(handler)
	s.TLS = conf
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are part of the tests
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String(), pair.Leaf()
}

func poolOf(ca certstest.CA) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.Cert)
	return p
}

func TestServedCertificateIsReturned(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	for name, conf := range map[string]*tls.Config{
		"TLS 1.3":                                {},
		"TLS 1.2":                                {MaxVersion: tls.VersionTLS12},
		"client certificate demanded, TLS 1.3":   {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(ca)},
		"client certificate demanded, TLS 1.2":   {ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(ca), MaxVersion: tls.VersionTLS12},
		"only curves that few clients put first": {CurvePreferences: []tls.CurveID{tls.CurveP521}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, want := serveTLS(t, ca, conf, nil)
			got, err := ServedCertificate(t.Context(), addr, "")
			if err != nil || !got.Equal(want) {
				t.Errorf("Handshake = %v, %v", got, err)
			}
		})
	}
}

func TestServedCertificateOfAName(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	other := ca.Leaf(t, certstest.SANs("api.example.com"))
	addr, fallback := serveTLS(t, ca, &tls.Config{}, nil)
	named, _ := serveTLS(t, ca, &tls.Config{Certificates: []tls.Certificate{keyPair(other)}}, nil)
	if got, err := ServedCertificate(t.Context(), named, "api.example.com"); err != nil || !got.Equal(other.Leaf()) {
		t.Errorf("by name: %v, %v", got, err)
	}
	if got, err := ServedCertificate(t.Context(), addr, "unknown.example.com"); err != nil || !got.Equal(fallback) {
		t.Errorf("by an unknown name: %v, %v", got, err)
	}
}

// TestServedLoopbackCertificate, which an API server makes when it starts, keeps
// in memory, and presents to no other name.
func TestServedLoopbackCertificate(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	loopback := certstest.NewCA(t, "apiserver-loopback-client-ca@1764374400").Leaf(t, certstest.Name("apiserver-loopback-client@1764374400"),
		certstest.SANs("apiserver-loopback-client"), certstest.Valid(certstest.Now.Add(-364*24*time.Hour), certstest.Now.Add(-time.Hour)))
	byName := func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		pair := keyPair(loopback)
		if hello.ServerName != "apiserver-loopback-client" {
			return nil, nil
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAnyClientCert}, nil
	}
	addr, serving := serveTLS(t, ca, &tls.Config{GetConfigForClient: byName}, nil)
	if got, err := ServedCertificate(t.Context(), addr, "apiserver-loopback-client"); err != nil || !got.Equal(loopback.Leaf()) || !got.NotAfter.Before(certstest.Now) {
		t.Errorf("by its name: %v, %v", got, err)
	}
	if got, err := ServedCertificate(t.Context(), addr, ""); err != nil || !got.Equal(serving) {
		t.Errorf("without a name: %v, %v", got, err)
	}
}

func TestServedCertificateOfASilentServer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and sends nothing
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := ServedCertificate(ctx, silent.Addr().String(), ""); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "no answer in time") {
		t.Errorf("a silent server: %v", err)
	}

	addr := silent.Addr().String()
	_ = silent.Close()
	if _, err := ServedCertificate(t.Context(), addr, ""); err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nothing listens: %v", err)
	}

	plainText := httptest.NewServer(http.NotFoundHandler())
	defer plainText.Close()
	if _, err := ServedCertificate(t.Context(), plainText.Listener.Addr().String(), ""); err == nil {
		t.Error("a server without TLS: no error")
	}
}

// TestHealthIsStatus200 and nothing else: no redirect, which would take the client
// certificate elsewhere.
func TestHealthIsStatus200(t *testing.T) {
	tree, node := kubeadmNode(t, "127.0.0.1:6443")
	addr, _ := serveTLS(t, tree.CA, &tls.Config{}, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/readyz":
			_, _ = w.Write([]byte("ok"))
		case "/moved":
			http.Redirect(w, r, "/readyz", http.StatusFound)
		default:
			w.WriteHeader(http.StatusInternalServerError)
			_, _ = w.Write([]byte("[+]ping ok\n[-]etcd failed: reason withheld\n" + strings.Repeat("x", 1<<20)))
		}
	})
	for path, message := range map[string]string{"/readyz": "", "/moved": "status 302: ", "/broken": "status 500: [-]etcd failed: reason withheld"} {
		p := HealthOf(t.Context(), tree.Root, node, inventory.Component{Service: certs.KubeAPIServer, Health: "https://" + addr + path})
		if p.Healthy != (message == "") || p.Unasked || !strings.HasPrefix(p.Message, message) || p.Address != "https://"+addr+path {
			t.Errorf("%s: %+v", path, p)
		}
	}
}
