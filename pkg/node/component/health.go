package component

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// NodeHealth is the health of the cluster as seen from a control-plane node: etcd's members,
// and the node's own API server.
func NodeHealth(ctx context.Context, root hostfs.Root, node inventory.Node) inventory.Health {
	h := inventory.Health{Node: node.Name, Etcd: EtcdHealth(ctx, root, node)}
	if c := node.ComponentOf(certs.KubeAPIServer); c != nil && c.Health != "" {
		p := HealthOf(ctx, root, node, *c)
		h.APIServer = &p
	}
	return h
}

// HealthOf requests a component's health endpoint once; status 200 is healthy. All
// health requests to a component use it: before a commit, during one, and after it.
//
// An https endpoint may accept only certain client certificates (etcd with --client-cert-auth,
// an API server without anonymous requests). Those of the node are tried in turn, see
// [credentialsFor], and are read from disk each time, since a rotation replaces them. If the
// endpoint accepts none, the result is Unasked. The server's own certificate is not verified:
// that is the purpose of [ServedCertificate].
func HealthOf(ctx context.Context, root hostfs.Root, node inventory.Node, c inventory.Component) inventory.Probe {
	var first inventory.Probe
	for _, offered := range credentialsFor(node, c) {
		p, final := offered.requestHealth(ctx, root, c.Health)
		if final {
			return p
		}
		if first.Message == "" {
			first = p
		}
	}
	if c.Service == certs.Etcd {
		if p, ok := memberHealth(ctx, root, node, c.Health); ok {
			return p
		}
	}
	first.Unasked = true
	return first
}

// requestHealth requests a health endpoint with one credential. final is false if another
// credential may get another answer.
func (o credential) requestHealth(ctx context.Context, root hostfs.Root, url string) (p inventory.Probe, final bool) {
	p.Address = url
	there := false // the server presented its certificate, or took the connection
	conf := &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // see HealthOf; no secret is sent
		VerifyConnection:   func(tls.ConnectionState) error { there = true; return nil },
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { there = true }})
	if o.certificate != nil {
		pair, err := loadPair(root, o.certificate.Store)
		if err != nil {
			p.Message = fmt.Sprintf("%s: %v", o, err)
			return p, false
		}
		// Sent even where the list of CAs that the server announces does not name its issuer.
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	status, body, err := sendRequest(ctx, conf, http.MethodGet, url, nil, nil)
	switch {
	case errors.Is(err, errAlert), err != nil && there && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled):
		// With TLS 1.3 a server rejects a client after the handshake. Its alert may be lost:
		// the connection is reset then. A server that does not speak HTTP leads here as well.
		p.Message = fmt.Sprintf("%s is not accepted: %v", o, err)
		return p, false
	case err != nil:
		p.Message = err.Error()
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		p.Message = fmt.Sprintf("%s is not accepted: status %d: %s", o, status, firstLines(body))
		return p, false
	case status != http.StatusOK:
		p.Message = fmt.Sprintf("status %d: %s", status, firstLines(body))
	default:
		p.Healthy = true
	}
	return p, true
}
