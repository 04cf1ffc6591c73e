package rotate

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// endpoint describes a component's health endpoint.
type endpoint struct {
	service   certs.Service
	down      bool // nothing listens
	refuses   bool // accepts no client certificate of the node
	unhealthy bool // answers 500
}

// proberContract is the result that every Prober must return for an endpoint: the real one for
// real servers, and the fake that the other tests of this package use.
var proberContract = []struct {
	name     string
	endpoint endpoint
	want     inventory.Probe
}{
	{"healthy etcd that wants a client certificate", endpoint{service: certs.Etcd}, inventory.Probe{Healthy: true}},
	{"etcd that accepts no certificate of the node", endpoint{service: certs.Etcd, refuses: true}, inventory.Probe{Unasked: true}},
	{"etcd that is not healthy", endpoint{service: certs.Etcd, unhealthy: true}, inventory.Probe{}},
	{"etcd that does not run", endpoint{service: certs.Etcd, down: true}, inventory.Probe{}},
	{"etcd that does not run and would refuse", endpoint{service: certs.Etcd, down: true, refuses: true}, inventory.Probe{}},
	{"API server without anonymous requests", endpoint{service: certs.KubeAPIServer}, inventory.Probe{Healthy: true}},
	{"API server that accepts no certificate of the node", endpoint{service: certs.KubeAPIServer, refuses: true}, inventory.Probe{Unasked: true}},
	{"API server that is not ready", endpoint{service: certs.KubeAPIServer, unhealthy: true}, inventory.Probe{}},
	{"API server that does not run", endpoint{service: certs.KubeAPIServer, down: true}, inventory.Probe{}},
	{"scheduler", endpoint{service: certs.KubeScheduler}, inventory.Probe{Healthy: true}},
	{"scheduler that authorizes even /healthz", endpoint{service: certs.KubeScheduler, refuses: true}, inventory.Probe{Unasked: true}},
}

// stands are the ways to make an endpoint, and the Prober for it.
var stands = map[string]func(*testing.T, endpoint) (Prober, inventory.Node, inventory.Component){
	"real servers": realEndpoint,
	"fake node":    fakeEndpoint,
}

func TestProberContract(t *testing.T) {
	for kind, stand := range stands {
		for _, test := range proberContract {
			t.Run(kind+"/"+test.name, func(t *testing.T) {
				prober, node, target := stand(t, test.endpoint)
				got := prober.CheckHealth(t.Context(), node, target)
				if got.Healthy != test.want.Healthy || got.Unasked != test.want.Unasked {
					t.Errorf("%+v, want healthy %v, unasked %v", got, test.want.Healthy, test.want.Unasked)
				}
				if got.Healthy != (got.Message == "") || got.Address == "" {
					t.Errorf("an answer that is not healthy says why, and where: %+v", got)
				}
			})
		}
	}
}

// TestProberContractForCertificates runs both Probers against the same endpoints: they read the
// served certificate, and authenticate with one of the node's.
func TestProberContractForCertificates(t *testing.T) {
	certificates := map[certs.Service][2]string{ // its serving certificate, and that of a client
		certs.Etcd: {"etcd-server", "etcd-healthcheck-client"}, certs.KubeAPIServer: {"apiserver", "scheduler.conf"},
	}
	for kind, stand := range stands {
		for service, names := range certificates {
			for _, e := range []endpoint{{service: service}, {service: service, refuses: true}, {service: service, down: true}} {
				t.Run(fmt.Sprintf("%s/%s, down %v, refuses %v", kind, service, e.down, e.refuses), func(t *testing.T) {
					prober, node, _ := stand(t, e)
					serving := certificateNamed(node, names[0])
					client := certificateNamed(node, names[1])
					shown, err := prober.ServedCertificate(t.Context(), serving.Served[0].Address, "")
					if e.down != (err != nil) || err == nil && certs.Fingerprint(shown) != serving.FingerprintSHA256 {
						t.Errorf("handshake: %v, %v", shown, err)
					}
					_, err = prober.VerifyClient(t.Context(), client, materialOf(t, prober, client))
					if rejected := errors.Is(err, component.ErrRejected); rejected != e.refuses || (err == nil) != (!e.down && !e.refuses) {
						t.Errorf("client: %v", err)
					}
				})
			}
		}
	}
}

func certificateNamed(node inventory.Node, name string) inventory.Certificate {
	for _, c := range node.Certificates {
		if c.Name == name {
			return c
		}
	}
	return inventory.Certificate{}
}

func materialOf(t *testing.T, p Prober, c inventory.Certificate) store.Material {
	t.Helper()
	root := hostfs.Root("")
	switch p := p.(type) {
	case Live:
		root = p.Root
	case *fakeNode:
		root = p.tree.Root
	}
	content, err := store.ReadStore(root, c.Store)
	if err != nil {
		t.Fatal(err)
	}
	return store.Material{Chain: content.Chain, Key: content.Key}
}

func fakeEndpoint(t *testing.T, e endpoint) (Prober, inventory.Node, inventory.Component) {
	n := newFakeNode(t)
	n.all[e.service].running = !e.down
	n.refuses[e.service] = e.refuses
	n.unhealthy[e.service] = e.unhealthy
	if e.refuses {
		n.rejects = func(inventory.Certificate, *x509.Certificate) error { return component.ErrRejected }
	}
	node, err := n.scanNode(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n, node, *node.ComponentOf(e.service)
}

func realEndpoint(t *testing.T, e endpoint) (Prober, inventory.Node, inventory.Component) {
	tree := certstest.Kubeadm(t, "cp1")
	ca := tree.CA
	serving := "apiserver"
	if e.service == certs.Etcd {
		ca = tree.EtcdCA
		serving = "etcd-server"
	}
	if e.refuses {
		ca = certstest.NewCA(t, "another")
	}
	clientCAs := x509.NewCertPool()
	clientCAs.AddCert(ca.Cert)
	content, err := store.ReadStore(tree.Root, tree.Stores[serving])
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case e.service == certs.KubeAPIServer && len(r.TLS.VerifiedChains) == 0:
			http.Error(w, "Unauthorized", http.StatusUnauthorized)
		case e.refuses:
			http.Error(w, "Forbidden", http.StatusForbidden)
		case e.unhealthy:
			http.Error(w, "[-]etcd failed: reason withheld", http.StatusInternalServerError)
		case r.Method == http.MethodPost: // a SelfSubjectReview
			fmt.Fprintf(w, `{"status": {"userInfo": {"username": %q}}}`, r.TLS.PeerCertificates[0].Subject.CommonName)
		}
	}))
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pairOf(store.Material{Chain: content.Chain, Key: content.Key})}, ClientCAs: clientCAs, ClientAuth: tls.RequestClientCert}
	switch {
	case e.service == certs.Etcd:
		server.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	case !e.refuses:
		server.TLS.ClientAuth = tls.VerifyClientCertIfGiven
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	address := server.Listener.Addr().String()
	if e.down {
		server.Close()
	}
	node := inventory.Node{Name: "cp1"}
	for name, s := range tree.Stores {
		c := inventory.Certificate{Facts: certs.DescribeCertificate(tree.Pairs[name].Leaf()), Service: owners[name], Name: name, Store: s, Status: certs.OK}
		if kind, ok := clients[name]; ok {
			c.Client = &inventory.Client{Kind: kind, Address: address}
		}
		if name == serving {
			c.Served = []inventory.Served{{Address: address}}
		}
		node.Certificates = append(node.Certificates, c)
	}
	return Live{Root: tree.Root}, node, inventory.Component{Service: e.service, Health: "https://" + address + "/health"}
}

// TestEtcdWhoseHealthCannotBeAsked accepts no certificate of the node for that, before the
// commit and after it. That is no evidence against its new certificate.
func TestEtcdWhoseHealthCannotBeAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.refuses[certs.Etcd] = true
		r := rotateAll(n, plan.RestartAlways, certs.Etcd)
		n.isAll(true, certs.Etcd)
		if len(r.recordsOf(nodeapi.Committed)) != 1 || len(r.recordsOf(nodeapi.RollingBack)) != 0 {
			t.Fatal(r.kindsText())
		}
		said := slices.ContainsFunc(r.recordsOf(nodeapi.Verified), func(rec nodeapi.Record) bool {
			return rec.Evidence.Service == certs.Etcd && strings.HasPrefix(rec.Evidence.Detail, "running; its health is not known")
		})
		if !said {
			t.Error("the evidence does not say that etcd's health is not known")
		}
		for _, rec := range r.recordsOf(nodeapi.Restarted) {
			if rec.UnavailableSeconds < 0.3 || rec.UnavailableSeconds > 1 {
				t.Errorf("%s was unavailable for %v s, want about 0.5", rec.Service, rec.UnavailableSeconds)
			}
		}
	})
}

// TestEtcdThatRefusesOnlyAfterTheCommit was healthy before, so it must be again.
func TestEtcdThatRefusesOnlyAfterTheCommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newFakeNode(t)
		n.onStop = func(s certs.Service) { n.refuses[s] = s == certs.Etcd && len(n.started) < 2 }
		r := rotateAll(n, plan.RestartAlways, certs.Etcd)
		n.isAll(false, certs.Etcd)
		if rolledBack := r.recordsOf(nodeapi.RolledBack); len(rolledBack) != 1 || !strings.HasPrefix(rolledBack[0].Message, "no client certificate is accepted") {
			t.Errorf("%s %+v", r.kindsText(), rolledBack)
		}
	})
}

// TestEtcdWhoseHealthCannotBeAskedAfterABoot is verified by its endpoints.
func TestEtcdWhoseHealthCannotBeAskedAfterABoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := rebootedNode(t, func(n *fakeNode) { n.refuses[certs.Etcd] = true })
		e, _ := n.newEngine()
		if _, err := e.RecoverNode(t.Context(), false); err != nil {
			t.Fatal(err)
		}
		if n.isUnverified() {
			t.Error("it was not verified")
		}
	})
}
