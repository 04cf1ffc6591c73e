package component

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// stand is a certificate authority, a place for its file, and a client of it.
type stand struct {
	ca     certstest.CA
	root   hostfs.Root
	client certstest.Pair
}

func newStand(t *testing.T) stand {
	t.Helper()
	s := stand{ca: certstest.NewCA(t, "ca"), root: hostfs.Root(t.TempDir())}
	tree := certstest.Tree{Root: s.root}
	tree.WritePair(t, "/ca", s.ca.Pair())
	s.client = s.ca.Leaf(t, certstest.Name("system:kube-scheduler"))
	tree.Write(t, "/kubeconfig", certstest.Kubeconfig(t, s.ca, "u", s.client), 0o600)
	return s
}

func (s stand) verifyClient(t *testing.T, c inventory.Client, pair certstest.Pair) (nodeapi.Evidence, error) {
	t.Helper()
	return VerifyClient(t.Context(), s.root, inventory.Certificate{
		Service: certs.KubeScheduler, Name: "scheduler.conf", Client: &c,
		Store: inventory.Store{Kind: inventory.Kubeconfig, Cert: "/kubeconfig", User: "u"},
	}, keyPair(pair))
}

// apiServer answers a SelfSubjectReview as a real one does: by client certificate,
// by a trusted proxy's headers, or not at all.
func (s stand) apiServer(t *testing.T, credentialIDs bool) string {
	t.Helper()
	addr, _ := serveTLS(t, s.ca, &tls.Config{ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: poolOf(s.ca)}, func(w http.ResponseWriter, r *http.Request) {
		var asked authenticationv1.SelfSubjectReview
		if r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Kind != "SelfSubjectReview" {
			http.Error(w, "no such thing", http.StatusNotFound)
			return
		}
		leaf := r.TLS.PeerCertificates[0]
		user := authenticationv1.UserInfo{Username: leaf.Subject.CommonName}
		if leaf.Subject.CommonName == "front-proxy-client" && r.Header.Get("X-Remote-User") != "" {
			user.Username = r.Header.Get("X-Remote-User")
		} else if credentialIDs {
			user.Extra = map[string]authenticationv1.ExtraValue{credentialID: {"X509SHA256=" + certs.Fingerprint(leaf)}}
		}
		if leaf.Subject.CommonName == "unauthorized" {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = w.Write([]byte(`{"kind":"Status","message":"Unauthorized"}`))
			return
		}
		w.WriteHeader(http.StatusCreated)
		_ = json.NewEncoder(w).Encode(authenticationv1.SelfSubjectReview{Status: authenticationv1.SelfSubjectReviewStatus{UserInfo: user}})
	})
	return addr
}

func TestVerifyToAPIServer(t *testing.T) {
	s := newStand(t)
	for name, caFile := range map[string]string{"CA from a file": "/ca.crt", "CA from a kubeconfig": "/kubeconfig"} {
		t.Run(name, func(t *testing.T) {
			e, err := s.verifyClient(t, inventory.Client{Kind: inventory.ToAPIServer, Address: s.apiServer(t, true), CAFile: caFile}, s.client)
			if err != nil || e.Method != nodeapi.SelfSubjectReview || !strings.Contains(e.Detail, certs.Fingerprint(s.client.Leaf())) {
				t.Errorf("%+v, %v", e, err)
			}
			if e.TargetID != "kube-scheduler/scheduler.conf@/kubeconfig#u" || e.Service != certs.KubeScheduler {
				t.Errorf("evidence of %s for %q", e.Service, e.TargetID)
			}
		})
	}
	e, err := s.verifyClient(t, inventory.Client{Kind: inventory.ToAPIServer, Address: s.apiServer(t, false), CAFile: "/ca.crt"}, s.client)
	if err != nil || e.Method != nodeapi.Authenticated {
		t.Errorf("a server that names no certificate: %+v, %v", e, err)
	}
	unauthorized := s.ca.Leaf(t, certstest.Name("unauthorized"))
	_, err = s.verifyClient(t, inventory.Client{Kind: inventory.ToAPIServer, Address: s.apiServer(t, true), CAFile: "/ca.crt"}, unauthorized)
	if !errors.Is(err, ErrRejected) || !strings.Contains(err.Error(), "401: Unauthorized") {
		t.Errorf("a server that answers 401: %v", err)
	}
}

// TestVerifyNeedsTheRightServer: an answer from a server of another CA is none.
func TestVerifyNeedsTheRightServer(t *testing.T) {
	s := newStand(t)
	other := newStand(t)
	address := other.apiServer(t, true)
	for _, kind := range []inventory.ClientKind{inventory.ToAPIServer, inventory.ToEtcd, inventory.ToKubelet, inventory.ToAPIServerAsProxy} {
		_, err := s.verifyClient(t, inventory.Client{Kind: kind, Address: address, CAFile: "/ca.crt"}, s.client)
		if !errors.Is(err, ErrCannotVerify) || errors.Is(err, ErrRejected) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestVerifyAsFrontProxy(t *testing.T) {
	s := newStand(t)
	target := inventory.Client{Kind: inventory.ToAPIServerAsProxy, Address: s.apiServer(t, true), CAFile: "/ca.crt"}
	e, err := s.verifyClient(t, target, s.ca.Leaf(t, certstest.Name("front-proxy-client")))
	if err != nil || e.Method != nodeapi.Authenticated {
		t.Errorf("%+v, %v", e, err)
	}
	if _, err := s.verifyClient(t, target, s.client); !errors.Is(err, ErrRejected) {
		t.Errorf("a client that may not speak for others: %v", err)
	}
}

func TestVerifyToEtcdAndKubelet(t *testing.T) {
	s := newStand(t)
	var status atomic.Int32
	answer := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/version" && r.URL.Path != "/healthz" {
			t.Errorf("asked for %q, which requires more permissions or verifies nothing", r.URL.Path)
		}
		w.WriteHeader(int(status.Load()))
		_, _ = w.Write([]byte("its words"))
	}
	strict, _ := serveTLS(t, s.ca, &tls.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: poolOf(s.ca)}, answer)
	lax, _ := serveTLS(t, s.ca, &tls.Config{ClientAuth: tls.NoClientCert}, answer)
	foreign := certstest.NewCA(t, "another ca").Leaf(t)
	for _, kind := range []inventory.ClientKind{inventory.ToEtcd, inventory.ToKubelet} {
		for _, tt := range []struct {
			name    string
			address string
			status  int32
			pair    certstest.Pair
			err     error
			says    string
		}{
			{"accepted", strict, 200, s.client, nil, "accepted"},
			{"known, but not allowed", strict, 403, s.client, nil, "403: its words"},
			{"not known", strict, 401, s.client, ErrRejected, "401: its words"},
			{"not well", strict, 500, s.client, ErrCannotVerify, "500: its words"},
			{"of another CA", strict, 200, foreign, ErrRejected, "ended the handshake"},
			{"not asked for", lax, 200, s.client, ErrCannotVerify, "does not ask for client certificates"},
			{"nothing listens", "127.0.0.1:1", 200, s.client, ErrCannotVerify, "connection refused"},
		} {
			status.Store(tt.status)
			e, err := s.verifyClient(t, inventory.Client{Kind: kind, Address: tt.address, CAFile: "/ca.crt"}, tt.pair)
			if !errors.Is(err, tt.err) || tt.err == nil && e.Method != nodeapi.Authenticated {
				t.Errorf("%s, %s: %+v, %v", kind, tt.name, e, err)
			}
			if text := e.Detail + errorText(err); !strings.Contains(text, tt.says) {
				t.Errorf("%s, %s: %q does not say %q", kind, tt.name, text, tt.says)
			}
		}
	}
}

func TestVerifyWithoutTarget(t *testing.T) {
	s := newStand(t)
	if _, err := VerifyClient(t.Context(), s.root, inventory.Certificate{Name: "x"}, keyPair(s.client)); !errors.Is(err, ErrCannotVerify) {
		t.Errorf("no server: %v", err)
	}
	target := inventory.Client{Kind: inventory.ToEtcd, Address: "127.0.0.1:1", CAFile: "/none"}
	if _, err := s.verifyClient(t, target, s.client); !errors.Is(err, ErrCannotVerify) || !strings.Contains(err.Error(), "/none") {
		t.Errorf("no CA file: %v", err)
	}
	if _, err := VerifyClient(t.Context(), s.root, inventory.Certificate{Client: &target}, tls.Certificate{}); !errors.Is(err, ErrCannotVerify) {
		t.Errorf("no key: %v", err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestARejectionWhoseAlertIsLost: the first connection breaks before the alert is read.
func TestARejectionWhoseAlertIsLost(t *testing.T) {
	s := newStand(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	conf := &tls.Config{Certificates: []tls.Certificate{keyPair(s.ca.Leaf(t, certstest.SANs("127.0.0.1")))}, ClientAuth: tls.RequireAnyClientCert}
	go func() {
		for first := true; ; first = false {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !first {
				conf.ClientAuth = tls.RequireAndVerifyClientCert
				conf.ClientCAs = poolOf(certstest.NewCA(t, "other"))
			}
			server := tls.Server(conn, conf.Clone())
			_ = server.HandshakeContext(t.Context())
			if !first {
				_, _ = server.Read(make([]byte, 1)) // so that the alert is not lost
			}
			_ = conn.Close()
		}
	}()
	_, err = s.verifyClient(t, inventory.Client{Kind: inventory.ToEtcd, Address: listener.Addr().String(), CAFile: "/ca.crt"}, s.client)
	if !errors.Is(err, ErrRejected) {
		t.Errorf("%v, want a rejection", err)
	}
}
