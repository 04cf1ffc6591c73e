package component

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// ErrRejected means that the server does not accept the client certificate: it ended the
// handshake, answered 401, or authenticated another user.
var ErrRejected = errors.New("the server does not accept the client certificate")

// ErrCannotVerify means that the certificate could not be verified either way, e.g. because the
// server was not reachable.
var ErrCannotVerify = errors.New("cannot be verified")

// credentialID is the key of a user's extra in which an API server (1.32 and later)
// names the certificate that it authenticated.
const credentialID = "authentication.kubernetes.io/credential-id"

// VerifyClient verifies that the server of c.Client accepts a client certificate: pair, which
// may be the one on disk or a staged one. The Method of the evidence says how strong it is.
// Errors wrap [ErrRejected] or [ErrCannotVerify] and include the server's answer.
func VerifyClient(ctx context.Context, root hostfs.Root, c inventory.Certificate, pair tls.Certificate) (nodeapi.Evidence, error) {
	e := nodeapi.Evidence{TargetID: c.ID(), Service: c.Service}
	if c.Client == nil {
		return e, fmt.Errorf("verify %s: %w: no server is known that it authenticates to", c.Name, ErrCannotVerify)
	}
	p := verifier{target: *c.Client, pair: pair}
	if err := p.prepareTLS(root); err != nil {
		return e, fmt.Errorf("verify %s: %w: %w", c.Name, ErrCannotVerify, err)
	}
	var err error
	switch c.Client.Kind {
	case inventory.ToAPIServer:
		e.Method, e.Detail, err = p.reviewSelf(ctx)
	case inventory.ToAPIServerAsProxy:
		e.Method, e.Detail, err = p.reviewAsProxy(ctx)
	case inventory.ToEtcd:
		e.Method, e.Detail, err = p.verifyByGet(ctx, "/version")
	case inventory.ToKubelet:
		e.Method, e.Detail, err = p.verifyByGet(ctx, "/healthz")
	default:
		err = fmt.Errorf("%w: unknown kind of server %q", ErrCannotVerify, c.Client.Kind)
	}
	if err != nil {
		return e, fmt.Errorf("verify %s: %w", c.Name, err)
	}
	return e, nil
}

// verifier is one attempt at one server.
type verifier struct {
	target inventory.Client
	pair   tls.Certificate
	conf   *tls.Config
	asked  atomic.Bool // the server asked for a client certificate, on any connection
}

// verifyByGet verifies with a request that only an authenticated client may make.
func (p *verifier) verifyByGet(ctx context.Context, path string) (nodeapi.Method, string, error) {
	status, body, err := p.sendVerified(ctx, http.MethodGet, path, nil, nil)
	if err != nil {
		return "", "", err
	}
	switch {
	case !p.asked.Load():
		return "", "", fmt.Errorf("%w: %s does not ask for client certificates", ErrCannotVerify, p.target.Address)
	case status == http.StatusUnauthorized:
		return "", "", fmt.Errorf("%w: %s answered 401: %s", ErrRejected, p.target.Address, firstLines(body))
	case status == http.StatusForbidden:
		// The kubelet authenticated the client, and the API server denied the request.
		return nodeapi.Authenticated, fmt.Sprintf("%s authenticated %s but answered 403: %s", p.target.Address, p.subjectText(), firstLines(body)), nil
	case status != http.StatusOK:
		return "", "", fmt.Errorf("%w: %s answered %d: %s", ErrCannotVerify, p.target.Address, status, firstLines(body))
	}
	return nodeapi.Authenticated, fmt.Sprintf("%s accepted %s", p.target.Address, p.subjectText()), nil
}

// reviewSelf asks an API server which user it authenticates by the certificate.
func (p *verifier) reviewSelf(ctx context.Context) (nodeapi.Method, string, error) {
	user, err := p.postReview(ctx, nil)
	if err != nil {
		return "", "", err
	}
	if want := p.pair.Leaf.Subject.CommonName; user.Username != want {
		return "", "", fmt.Errorf("%w: %s takes it for %q instead of %q", ErrRejected, p.target.Address, user.Username, want)
	}
	ids := user.Extra[credentialID]
	if len(ids) == 0 {
		// Before 1.32 the answer names the user, but not the certificate. This connection
		// offered only this one.
		return nodeapi.Authenticated, fmt.Sprintf("%s authenticated %q", p.target.Address, user.Username), nil
	}
	if want := "X509SHA256=" + certs.Fingerprint(p.pair.Leaf); !slices.Contains(ids, want) {
		return "", "", fmt.Errorf("%w: %s authenticated %q by %q instead of %q", ErrRejected, p.target.Address, user.Username, ids, want)
	}
	return nodeapi.SelfSubjectReview, fmt.Sprintf("%s authenticated %q by %s", p.target.Address, user.Username, ids[0]), nil
}

// proxiedUser is the user name that the front proxy sends. No user has this name, and the
// server only echoes it.
const proxiedUser = "rotate-certs:front-proxy-probe"

// reviewAsProxy asks an API server which user it authenticates when the client names one: only
// a trusted front proxy may do so.
func (p *verifier) reviewAsProxy(ctx context.Context) (nodeapi.Method, string, error) {
	user, err := p.postReview(ctx, http.Header{"X-Remote-User": {proxiedUser}})
	if err != nil {
		return "", "", err
	}
	if user.Username != proxiedUser {
		return "", "", fmt.Errorf("%w as front proxy: %s takes it for %q", ErrRejected, p.target.Address, user.Username)
	}
	return nodeapi.Authenticated, fmt.Sprintf("%s trusts %s as front proxy", p.target.Address, p.subjectText()), nil
}

// postReview posts a SelfSubjectReview.
func (p *verifier) postReview(ctx context.Context, header http.Header) (authenticationv1.UserInfo, error) {
	const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	question := []byte(`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	status, body, err := p.sendVerified(ctx, http.MethodPost, path, header, question)
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	switch status {
	case http.StatusOK, http.StatusCreated:
	case http.StatusUnauthorized:
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: %s answered 401: %s", ErrRejected, p.target.Address, statusMessage(body))
	default:
		// 403 comes to anonymous users as well as to known ones, 404 from servers before 1.28:
		// neither depends on the certificate.
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: %s answered %d: %s", ErrCannotVerify, p.target.Address, status, statusMessage(body))
	}
	var review authenticationv1.SelfSubjectReview
	if err := json.Unmarshal([]byte(body), &review); err != nil {
		return authenticationv1.UserInfo{}, fmt.Errorf("%w: %s answered with something that is no SelfSubjectReview", ErrCannotVerify, p.target.Address)
	}
	return review.Status.UserInfo, nil
}

// statusMessage returns the message of an API server's Status object, or the beginning of the
// answer.
func statusMessage(body string) string {
	var status struct {
		Message string `json:"message"`
	}
	if json.Unmarshal([]byte(body), &status) == nil && status.Message != "" {
		return firstLines(status.Message)
	}
	return firstLines(body)
}

// maxBroken is the number of attempts if the connection breaks without an answer.
const maxBroken = 3

// sendVerified sends one request with the client certificate, and distinguishes a server that
// rejects it in the handshake from one that is not reachable.
//
// With TLS 1.3 a server judges the certificate after the client has finished the handshake and
// sent its request, and its alert is lost where the connection is reset before it was read. So
// a request whose connection breaks is repeated.
func (p *verifier) sendVerified(ctx context.Context, method, path string, header http.Header, body []byte) (status int, answer string, err error) {
	if header == nil {
		header = http.Header{}
	}
	if body != nil {
		header.Set("Content-Type", "application/json")
	}
	header.Set("Accept", "application/json")
	for range maxBroken {
		p.asked.Store(false)
		status, answer, err = sendRequest(ctx, p.conf, method, "https://"+p.target.Address+path, header, bytes.NewReader(body))
		if err == nil || !p.asked.Load() || errors.Is(err, errAlert) || errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	switch {
	case err == nil:
		return status, answer, nil
	case errors.Is(err, errAlert):
		return 0, "", fmt.Errorf("%w: %w", ErrRejected, err)
	default:
		return 0, "", fmt.Errorf("%w: %w", ErrCannotVerify, err)
	}
}

func (p *verifier) subjectText() string { return fmt.Sprintf("%q", p.pair.Leaf.Subject.String()) }
