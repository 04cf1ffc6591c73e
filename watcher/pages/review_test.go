package pages

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	authorizationv1 "k8s.io/api/authorization/v1"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
)

func TestTokensAreReviewedWithTheirAudience(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": viewer})
	source, _ := newSource(t, s, nil)
	user, err := source.ReviewToken(t.Context(), "token-of-jane")
	require.NoError(t, err)
	assert.Equal(t, dashboard.User{Name: "jane", UID: "7", Groups: []string{"system:authenticated"}, Extra: map[string][]string{"scopes": {"certs"}}}, user)
	assert.Equal(t, []string{"rotate-certs"}, s.reviews[0].Audiences)
	for name, token := range map[string]string{"expired, or of another audience": "stale-token", "of an authenticator without audiences": "without-audiences"} {
		_, err := source.ReviewToken(t.Context(), token)
		require.ErrorIs(t, err, dashboard.ErrNotAccepted, name)
		assert.NotContains(t, err.Error(), token)
	}
	s.down = true
	_, err = source.ReviewToken(t.Context(), "token-of-jane")
	require.Error(t, err)
	assert.NotErrorIs(t, err, dashboard.ErrNotAccepted, "no verdict is no refusal")
}

func TestExpiryOfATokenEndsItsSession(t *testing.T) {
	token := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for given, want := range map[string]time.Time{
		token(`{"exp":1900000000}`): time.Unix(1900000000, 0), token(`{"exp":1.9e9,"iat":1}`): time.Unix(1900000000, 0),
		token(`{}`): {}, token(`{"exp":-1}`): {}, token(`{"exp":"x"}`): {}, token(`x`): {}, "opaque": {}, "a.!.c": {},
	} {
		assert.Equal(t, want, expiryOf(given), given)
	}
}

// TestOnlyATrustedProxyNamesUsers: the headers alone are not enough.
func TestOnlyATrustedProxyNamesUsers(t *testing.T) {
	certificate := func(name string) *x509.Certificate { return &x509.Certificate{Subject: pkix.Name{CommonName: name}} }
	verified := func(name string) *tls.ConnectionState {
		return &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{certificate(name), certificate("auth-proxy CA")}}}
	}
	for name, tt := range map[string]struct {
		proxies []string
		state   *tls.ConnectionState
		user    string
		want    bool
	}{
		"the proxy":                    {[]string{"auth-proxy"}, verified("auth-proxy"), "jane", true},
		"it names no user":             {[]string{"auth-proxy"}, verified("auth-proxy"), "", false},
		"another certificate":          {[]string{"auth-proxy"}, verified("kubelet"), "jane", false},
		"its CA":                       {[]string{"auth-proxy CA"}, verified("kubelet"), "jane", false},
		"a certificate not verified":   {[]string{"auth-proxy"}, &tls.ConnectionState{PeerCertificates: []*x509.Certificate{certificate("auth-proxy")}}, "jane", false},
		"without a certificate":        {[]string{"auth-proxy"}, &tls.ConnectionState{}, "jane", false},
		"without TLS":                  {[]string{"auth-proxy"}, nil, "jane", false},
		"no proxy is trusted":          {nil, verified("auth-proxy"), "jane", false},
		"a certificate without a name": {nil, verified(""), "jane", false},
	} {
		source := &Source{Proxies: tt.proxies}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.TLS = tt.state
		r.Header.Set("X-Remote-User", tt.user)
		r.Header["X-Remote-Group"] = []string{"operators", "system:masters"}
		r.Header.Set("X-Remote-Extra-Acme.io%2fteam", "a")
		user, named := source.NamedByProxy(r)
		assert.Equal(t, tt.want, named, name)
		if tt.want {
			assert.Equal(t, dashboard.User{Name: "jane", Groups: []string{"operators", "system:masters", "system:authenticated"}, Extra: map[string][]string{"acme.io/team": {"a"}}}, user)
		} else {
			assert.Equal(t, dashboard.User{}, user, name)
		}
	}
}

func TestReviewsNameTheWholeUser(t *testing.T) {
	s := newAPIServer(t, map[string][]string{"jane": viewer})
	source, _ := newSource(t, s, nil)
	cluster := &userCluster{Source: source, user: dashboard.User{Name: "jane", UID: "7", Groups: []string{"operators"}, Extra: map[string][]string{"scopes": {"certs"}}}}
	has, err := cluster.reviewAccess(t.Context(), listReports, createRotation, getLock)
	require.NoError(t, err)
	assert.Equal(t, granted{listReports: true, createRotation: false, getLock: false}, has)
	require.Len(t, s.asked, 3)
	for _, spec := range s.asked {
		assert.Equal(t, []any{"jane", "7", []string{"operators"}, map[string]authorizationv1.ExtraValue{"scopes": {"certs"}}}, []any{spec.User, spec.UID, spec.Groups, spec.Extra})
	}
	assert.Equal(t, `missing permissions: create certificaterotations.rotate-certs.io; get leases.coordination.k8s.io "rotate-certs" in namespace kube-system`,
		has.missingOf(listReports, createRotation, getLock))
	s.down = true
	_, err = cluster.reviewAccess(t.Context(), listReports)
	assert.ErrorContains(t, err, fmt.Sprintf("review the permissions of %q", "jane"))
}
