package component

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// kubeadmNode holds a node's files, and its certificates with their clients and servers.
func kubeadmNode(t *testing.T, address string) (*certstest.Tree, inventory.Node) {
	t.Helper()
	tree := certstest.Kubeadm(t, "cp1")
	node := inventory.Node{Name: "cp1"}
	for _, c := range []struct {
		name    string
		service certs.Service
		client  inventory.ClientKind
	}{
		{"admin.conf", certs.Admin, inventory.ToAPIServer},
		{"apiserver-etcd-client", certs.KubeAPIServer, inventory.ToEtcd},
		{"etcd-healthcheck-client", certs.Etcd, inventory.ToEtcd},
		{"etcd-peer", certs.Etcd, inventory.ToEtcd},
		{"etcd-server", certs.Etcd, ""},
		{"scheduler.conf", certs.KubeScheduler, inventory.ToAPIServer},
	} {
		certificate := inventory.Certificate{Facts: certs.DescribeCertificate(tree.Pairs[c.name].Leaf()), Service: c.service, Name: c.name,
			Store: tree.Stores[c.name], Status: certs.OK}
		if c.client != "" {
			certificate.Client = &inventory.Client{Kind: c.client, Address: address, CAFile: certstest.PKIDir + "/etcd/ca.crt"}
		}
		node.Certificates = append(node.Certificates, certificate)
	}
	return tree, node
}

// onlyCertificates leaves a node the named certificates.
func onlyCertificates(node inventory.Node, names ...string) inventory.Node {
	node.Certificates = slices.Clone(node.Certificates)
	node.Certificates = slices.DeleteFunc(node.Certificates, func(c inventory.Certificate) bool { return !slices.Contains(names, c.Name) })
	return node
}

// guests are the names of the clients that a server let in.
type guests struct {
	mu    sync.Mutex
	names []string
}

func (g *guests) addGuest(r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	name := "anonymous"
	if len(r.TLS.PeerCertificates) > 0 {
		name = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	g.names = append(g.names, name)
}

// TestHealthOfEtcdThatWantsClientCertificates has them as etcd may restrict them.
func TestHealthOfEtcdThatWantsClientCertificates(t *testing.T) {
	named := func(name string) func(tls.ConnectionState) error { // --client-cert-allowed-cn
		return func(s tls.ConnectionState) error {
			if s.PeerCertificates[0].Subject.CommonName != name {
				return fmt.Errorf("CN is not %s", name)
			}
			return nil
		}
	}
	all := []string{"admin.conf", "apiserver-etcd-client", "etcd-healthcheck-client", "etcd-peer", "etcd-server"}
	for _, test := range []struct {
		name    string
		has     []string
		allowed func(tls.ConnectionState) error
		version uint16
		want    string // the client that is let in; empty: none
	}{
		{"kubeadm", all, nil, tls.VersionTLS13, "kube-etcd-healthcheck-client"},
		{"TLS 1.2", all, nil, tls.VersionTLS12, "kube-etcd-healthcheck-client"},
		{"without a healthcheck client", []string{"etcd-peer", "apiserver-etcd-client"}, nil, tls.VersionTLS13, "kube-apiserver-etcd-client"},
		{"a node with nothing but a member", []string{"etcd-server"}, nil, tls.VersionTLS13, "cp1"},
		{"one name allowed", all, named("kube-apiserver-etcd-client"), tls.VersionTLS13, "kube-apiserver-etcd-client"},
		{"one name allowed, TLS 1.2", all, named("cp1"), tls.VersionTLS12, "cp1"},
		{"a name that is not here", all, named("other"), tls.VersionTLS13, ""},
		{"a name that is not here, TLS 1.2", all, named("other"), tls.VersionTLS12, ""},
		{"no certificate for etcd", []string{"admin.conf"}, nil, tls.VersionTLS13, ""},
		{"nothing", nil, nil, tls.VersionTLS13, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree, node := kubeadmNode(t, "127.0.0.1:2379")
			in := &guests{}
			address, _ := serveTLS(t, tree.EtcdCA, &tls.Config{
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(tree.EtcdCA), VerifyConnection: test.allowed,
				MinVersion: test.version, MaxVersion: test.version,
			}, func(_ http.ResponseWriter, r *http.Request) { in.addGuest(r) })
			c := inventory.Component{Service: certs.Etcd, Health: "https://" + address + "/health"}
			p := HealthOf(t.Context(), tree.Root, onlyCertificates(node, test.has...), c)
			if test.want == "" {
				if p.Healthy || !p.Unasked || p.Message == "" || len(in.names) > 0 {
					t.Errorf("%+v, let in %q", p, in.names)
				}
				return
			}
			if !p.Healthy || p.Unasked || !slices.Equal(in.names, []string{test.want}) {
				t.Errorf("%+v, let in %q, want %q", p, in.names, test.want)
			}
		})
	}
}

// TestHealthUsesTheCertificateOnDisk: a rotation replaces the certificates between one
// request and the next.
func TestHealthUsesTheCertificateOnDisk(t *testing.T) {
	tree, node := kubeadmNode(t, "127.0.0.1:2379")
	fresh := tree.EtcdCA.Leaf(t, certstest.Name("kube-etcd-healthcheck-client"), certstest.Usages(x509.ExtKeyUsageClientAuth))
	address, _ := serveTLS(t, tree.EtcdCA, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(tree.EtcdCA),
		VerifyConnection: func(s tls.ConnectionState) error {
			if !s.PeerCertificates[0].Equal(fresh.Leaf()) {
				return fmt.Errorf("revoked")
			}
			return nil
		}}, func(http.ResponseWriter, *http.Request) {})
	c := inventory.Component{Service: certs.Etcd, Health: "https://" + address + "/health"}
	node = onlyCertificates(node, "etcd-healthcheck-client")
	node.Certificates[0].Status = certs.Expired // as it was found
	if p := HealthOf(t.Context(), tree.Root, node, c); p.Healthy || !p.Unasked {
		t.Errorf("with the old one: %+v", p)
	}
	tree.WritePair(t, certstest.PKIDir+"/etcd/healthcheck-client", fresh)
	if p := HealthOf(t.Context(), tree.Root, node, c); !p.Healthy {
		t.Errorf("with the new one: %+v", p)
	}
}

// TestAnAnswerIsFinal: the health that a component reports to an accepted client does not
// depend on the certificate.
func TestAnAnswerIsFinal(t *testing.T) {
	tree, node := kubeadmNode(t, "127.0.0.1:2379")
	in := &guests{}
	address, _ := serveTLS(t, tree.EtcdCA, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(tree.EtcdCA)},
		func(w http.ResponseWriter, r *http.Request) {
			in.addGuest(r)
			http.Error(w, `{"health":"false","reason":"RAFT NO LEADER"}`, http.StatusServiceUnavailable)
		})
	p := HealthOf(t.Context(), tree.Root, node, inventory.Component{Service: certs.Etcd, Health: "https://" + address + "/health"})
	if p.Healthy || p.Unasked || !strings.Contains(p.Message, "status 503") || !strings.Contains(p.Message, "NO LEADER") || len(in.names) != 1 {
		t.Errorf("%+v, asked by %q", p, in.names)
	}
}

// TestAServerThatHangsUp rejects clients as etcd does those whose address is not in their
// certificate: it closes the connection without an alert.
func TestAServerThatHangsUp(t *testing.T) {
	tree, node := kubeadmNode(t, "127.0.0.1:2379")
	pair := keyPair(tree.EtcdCA.Leaf(t, certstest.SANs("127.0.0.1")))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair},
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(tree.EtcdCA)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.(*tls.Conn).Handshake()
			_ = conn.Close()
		}
	}()
	c := inventory.Component{Service: certs.Etcd, Health: "https://" + listener.Addr().String() + "/health"}
	if p := HealthOf(t.Context(), tree.Root, node, c); p.Healthy || !p.Unasked {
		t.Errorf("%+v", p)
	}
	_ = listener.Close()
	if p := HealthOf(t.Context(), tree.Root, node, c); p.Healthy || p.Unasked || !strings.Contains(p.Message, "connection refused") {
		t.Errorf("nothing listens: %+v", p)
	}
}

// TestHealthOfTheOtherComponents shows the requests to the other components, and the answers
// that count as healthy.
func TestHealthOfTheOtherComponents(t *testing.T) {
	for _, test := range []struct {
		name      string
		service   certs.Service
		anonymous bool
		has       []string
		want      string // the client that gets the answer; empty: none
	}{
		{"API server without anonymous requests", certs.KubeAPIServer, false, []string{"etcd-peer", "scheduler.conf"}, "system:kube-scheduler"},
		{"API server with anonymous requests", certs.KubeAPIServer, true, nil, "anonymous"},
		{"API server, and no certificate for it", certs.KubeAPIServer, false, []string{"etcd-peer"}, ""},
		{"scheduler", certs.KubeScheduler, true, []string{"scheduler.conf"}, "anonymous"},
		{"scheduler that authorizes /healthz", certs.KubeScheduler, false, []string{"admin.conf"}, "kubernetes-admin"},
		{"controller manager that accepts no client", certs.KubeControllerManager, false, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree, node := kubeadmNode(t, "127.0.0.1:6443")
			in := &guests{}
			address, _ := serveTLS(t, tree.CA, &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: poolOf(tree.CA)},
				func(w http.ResponseWriter, r *http.Request) {
					if len(r.TLS.PeerCertificates) == 0 && !test.anonymous {
						http.Error(w, "Unauthorized", http.StatusUnauthorized)
						return
					}
					in.addGuest(r)
				})
			c := inventory.Component{Service: test.service, Health: "https://" + address + "/healthz"}
			p := HealthOf(t.Context(), tree.Root, onlyCertificates(node, test.has...), c)
			if test.want == "" {
				if p.Healthy || !p.Unasked || !strings.Contains(p.Message, "401") {
					t.Errorf("%+v", p)
				}
				return
			}
			if !p.Healthy || !slices.Equal(in.names, []string{test.want}) {
				t.Errorf("%+v, asked by %q, want %q", p, in.names, test.want)
			}
		})
	}
}

// TestHealthOfTheAPIServerInAGate is asked in the same way.
func TestHealthOfTheAPIServerInAGate(t *testing.T) {
	tree, node := kubeadmNode(t, "lb.example.com:6443")
	address, _ := serveTLS(t, tree.CA, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(tree.CA)},
		func(http.ResponseWriter, *http.Request) {})
	node.Components = []inventory.Component{{Service: certs.KubeAPIServer, Health: "https://" + address + "/readyz"}}
	h := NodeHealth(t.Context(), tree.Root, node)
	if h.Etcd != nil || h.APIServer == nil || !h.APIServer.Healthy {
		t.Errorf("%+v", h.APIServer)
	}
}

// TestHealthWithoutTLS uses plain HTTP.
func TestHealthWithoutTLS(t *testing.T) {
	tree, node := kubeadmNode(t, "127.0.0.1:2379")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" {
			http.Error(w, "not synced", http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	for _, service := range []certs.Service{certs.Etcd, certs.Kubelet} {
		if p := HealthOf(t.Context(), tree.Root, node, inventory.Component{Service: service, Health: server.URL + "/health"}); !p.Healthy || p.Message != "" {
			t.Errorf("%s: %+v", service, p)
		}
		p := HealthOf(t.Context(), tree.Root, node, inventory.Component{Service: service, Health: server.URL + "/other"})
		if p.Healthy || p.Unasked || p.Message != "status 503: not synced" {
			t.Errorf("%s: %+v", service, p)
		}
	}
}

// TestHealthOfAServerThatDoesNotAnswer is not good, and not unknown either.
func TestHealthOfAServerThatDoesNotAnswer(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	tree, node := kubeadmNode(t, silent.Addr().String())
	c := inventory.Component{Service: certs.Etcd, Health: "https://" + silent.Addr().String() + "/health"}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if p := HealthOf(ctx, tree.Root, node, c); p.Healthy || p.Unasked || !strings.Contains(p.Message, "no answer in time") {
		t.Errorf("%+v", p)
	}
}
