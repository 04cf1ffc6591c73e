package component

import (
	"crypto/tls"
	"net/http"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
)

// otherAPI is another node's API server, whose certificate is for some names.
func otherAPI(t *testing.T, ca certstest.CA, clients tls.ClientAuthType, status int, names ...string) string {
	t.Helper()
	pair := keyPair(ca.Leaf(t, certstest.SANs(names...)))
	address, _ := serveTLS(t, ca, &tls.Config{ClientAuth: clients, ClientCAs: poolOf(ca),
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: clients, ClientCAs: poolOf(ca), MinVersion: tls.VersionTLS12}, nil
		}}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" || len(r.TLS.PeerCertificates) == 0 {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("[-]etcd failed"))
	})
	return address
}

func TestAPIServersOfOtherNodesAreVerified(t *testing.T) {
	s := newStand(t)
	other := certstest.NewCA(t, "other")
	node := inventory.Node{Name: "cp2", Certificates: []inventory.Certificate{{
		Service: certs.KubeScheduler, Name: "scheduler.conf", Status: certs.OK,
		Store:  inventory.Store{Kind: inventory.Kubeconfig, Cert: "/kubeconfig", User: "u"},
		Client: &inventory.Client{Kind: inventory.ToAPIServer, Address: "lb.example.com:6443", CAFile: "/ca.crt"},
	}}}
	for name, tt := range map[string]struct {
		address string
		says    string // empty: it is ready
	}{
		"certificate for its address":               {otherAPI(t, s.ca, tls.RequireAndVerifyClientCert, 200, "127.0.0.1"), ""},
		"certificate for the load balancer":         {otherAPI(t, s.ca, tls.RequireAndVerifyClientCert, 200, "lb.example.com"), ""},
		"certificate for the name in every cluster": {otherAPI(t, s.ca, tls.RequestClientCert, 200, "kubernetes.default.svc"), ""},
		"certificate for something else":            {otherAPI(t, s.ca, tls.RequestClientCert, 200, "w1"), "127.0.0.1"},
		"certificate of another authority":          {otherAPI(t, other, tls.RequestClientCert, 200, "127.0.0.1"), "unknown authority"},
		"not ready":                                 {otherAPI(t, s.ca, tls.RequireAndVerifyClientCert, 500, "127.0.0.1"), "[-]etcd failed"},
		"it does not accept the client certificate": {otherAPI(t, s.ca, tls.RequestClientCert, 401, "127.0.0.1"), "is not accepted"},
		"nothing listens there":                     {"127.0.0.1:1", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			got := OtherAPIServers(t.Context(), s.root, node, []inventory.Peer{{Node: "cp1", Address: tt.address}})
			if len(got) != 1 || got[0].Node != "cp1" || got[0].Healthy != (tt.says == "") || !strings.Contains(got[0].Message, tt.says) {
				t.Errorf("%+v, want %q", got, tt.says)
			}
		})
	}
	node.Certificates[0].Status = certs.Expired
	if got := OtherAPIServers(t.Context(), s.root, node, []inventory.Peer{{Node: "cp1", Address: "127.0.0.1:1"}}); got[0].Healthy || !got[0].Unasked {
		t.Errorf("without a client certificate: %+v", got)
	}
}
