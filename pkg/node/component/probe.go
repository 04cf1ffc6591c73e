package component

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// probeTimeout bounds every single probe. The endpoints are on the same node or one hop away:
// one that does not answer in this time is unhealthy. A healthy member of etcd takes
// milliseconds.
const probeTimeout = 3 * time.Second

// maxAnswer limits the bytes that are read of an answer.
const maxAnswer = 64 << 10

// ServedCertificate returns the leaf certificate that a TLS endpoint (host:port) serves now.
// serverName is sent as SNI; empty: none. The certificate is not verified: the caller compares
// it with one that it knows. A server that then requires a client certificate has already sent
// its own.
func ServedCertificate(ctx context.Context, addr, serverName string) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("handshake with %s: %w", addr, shortenError(err))
	}
	defer func() { _ = conn.Close() }()
	var leaf *x509.Certificate
	client := tls.Client(conn, &tls.Config{
		ServerName:         serverName,
		InsecureSkipVerify: true, //nolint:gosec // see above
		// Classic curves only: the certificate is the same, and a scan of a node makes
		// a dozen handshakes.
		CurvePreferences: []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		// Called before the handshake can fail because the server requires a client
		// certificate.
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) > 0 {
				leaf = state.PeerCertificates[0]
			}
			return nil
		},
	})
	err = client.HandshakeContext(ctx)
	if leaf != nil {
		return leaf, nil
	}
	if err == nil {
		err = errors.New("the server showed no certificate")
	}
	return nil, fmt.Errorf("handshake with %s: %w", addr, shortenError(err))
}

// sendRequest makes one HTTP request on a connection of its own and returns the status and the
// beginning of the body.
func sendRequest(ctx context.Context, conf *tls.Config, method, url string, header http.Header, body io.Reader) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	if err != nil {
		return 0, "", fmt.Errorf("ask %s: %w", url, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	transport := &http.Transport{TLSClientConfig: conf, DisableKeepAlives: true} // no proxy: never for a node's own
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport: transport,
		// A redirect could send the client certificate to another server.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", fmt.Errorf("ask %s: %w", url, shortenError(err))
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("read the answer of %s: %w", url, shortenError(err))
	}
	return resp.StatusCode, string(data), nil
}

// errAlert means that the server ended the handshake with a TLS alert.
var errAlert = errors.New("the server ended the handshake")

// shortenError shortens a network error: the caller names the address. Errors of contexts stay
// recognisable.
func shortenError(err error) error {
	var op *net.OpError
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", context.DeadlineExceeded)
	case errors.Is(err, context.Canceled):
		return context.Canceled
	case errors.As(err, &op) && op.Op == "remote error" && op.Err != nil:
		return fmt.Errorf("%w: %w", errAlert, op.Err)
	case errors.As(err, &op) && op.Err != nil:
		var system interface{ Unwrap() error }
		if errors.As(op.Err, &system) && system.Unwrap() != nil {
			return system.Unwrap()
		}
		return op.Err
	}
	return err
}

// firstLines returns the part of an answer to print: the failed checks of a verbose health
// answer, otherwise its beginning.
func firstLines(body string) string {
	const most = 300
	var failed []string
	for line := range strings.SplitSeq(body, "\n") {
		if strings.HasPrefix(line, "[-]") {
			failed = append(failed, line)
		}
	}
	text := strings.TrimSpace(body)
	if len(failed) > 0 {
		text = strings.Join(failed, "; ")
	}
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}
