package pages

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// Audience is that of the tokens with which users sign in. A token for the API server has another
// one: the dashboard must not get it.
const Audience = "rotate-certs"

// ReviewToken has the API server review a token.
func (s *Source) ReviewToken(ctx context.Context, token string) (dashboard.User, error) {
	review, err := s.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: []string{Audience}},
	}, metav1.CreateOptions{})
	if err != nil {
		return dashboard.User{}, fmt.Errorf("review token: %w", err)
	}
	// An authenticator that does not know audiences leaves them empty: the token may be for any.
	if !review.Status.Authenticated || !slices.Contains(review.Status.Audiences, Audience) || review.Status.User.Username == "" {
		return dashboard.User{}, hint.AddTo(fmt.Errorf("%w: it has expired, or is not for the audience %q", dashboard.ErrNotAccepted, Audience),
			"kubectl create token NAME --namespace NAMESPACE --audience %s", Audience)
	}
	out := dashboard.User{Name: review.Status.User.Username, UID: review.Status.User.UID, Groups: review.Status.User.Groups, Until: expiryOf(token)}
	for key, values := range review.Status.User.Extra {
		out.Extra = withExtra(out.Extra, key, values...)
	}
	return out, nil
}

// expiryOf is the time in a token that the API server has accepted; zero: it has none.
func expiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(text, &claims) != nil || claims.Expires <= 0 {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}

func withExtra(extra map[string][]string, key string, values ...string) map[string][]string {
	if extra == nil {
		extra = map[string][]string{}
	}
	extra[key] = append(extra[key], values...)
	return extra
}

// The headers in which an authenticating proxy names a user, as for the API server.
const (
	userHeader  = "X-Remote-User"
	uidHeader   = "X-Remote-Uid"
	groupHeader = "X-Remote-Group"
	extraHeader = "X-Remote-Extra-"
)

// allAuthenticated is the group of every user. The API server adds it itself to those of a proxy.
const allAuthenticated = "system:authenticated"

// NamedByProxy returns the user in the headers of a request, if its certificate was verified and is
// that of a trusted proxy.
func (s *Source) NamedByProxy(r *http.Request) (dashboard.User, bool) {
	if r.TLS == nil || !s.trustsAny(r.TLS.VerifiedChains) || r.Header.Get(userHeader) == "" {
		return dashboard.User{}, false
	}
	out := dashboard.User{Name: r.Header.Get(userHeader), UID: r.Header.Get(uidHeader), Groups: slices.Clone(r.Header.Values(groupHeader))}
	if !slices.Contains(out.Groups, allAuthenticated) {
		out.Groups = append(out.Groups, allAuthenticated)
	}
	for name, values := range r.Header {
		if escaped, is := strings.CutPrefix(name, extraHeader); is {
			key := strings.ToLower(escaped)
			if plain, err := url.PathUnescape(key); err == nil {
				key = plain
			}
			out.Extra = withExtra(out.Extra, key, values...)
		}
	}
	return out, true
}

func (s *Source) trustsAny(chains [][]*x509.Certificate) bool {
	return slices.ContainsFunc(chains, func(chain []*x509.Certificate) bool {
		return len(chain) > 0 && slices.Contains(s.Proxies, chain[0].Subject.CommonName)
	})
}

// The permissions of users that are reviewed.
var (
	listReports    = kube.Access{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "nodecertificatereports"}
	listRotations  = kube.Access{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "certificaterotations"}
	listMarks      = kube.Access{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "compromisedcertificates"}
	listPolicies   = kube.Access{Verb: "list", Group: v1alpha1.GroupVersion.Group, Resource: "rotationpolicies"}
	listNodes      = kube.Access{Verb: "list", Resource: "nodes"}
	getLock        = kube.Access{Verb: "get", Group: "coordination.k8s.io", Resource: "leases", Namespace: kube.LeaseNamespace, Name: kube.LeaseName}
	createRotation = kube.Access{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: "certificaterotations"}
	getRotation    = kube.Access{Verb: "get", Group: v1alpha1.GroupVersion.Group, Resource: "certificaterotations"}
	askRotation    = kube.Access{Verb: "ask", Group: v1alpha1.GroupVersion.Group, Resource: "certificaterotations"}
	createMark     = kube.Access{Verb: "create", Group: v1alpha1.GroupVersion.Group, Resource: "compromisedcertificates"}
)

// granted says which permissions a user has.
type granted map[kube.Access]bool

// reviewAccess has the API server say which permissions the user has, side by side. Answers are
// not kept: a right that is withdrawn has no effect on the next page.
func (c *userCluster) reviewAccess(ctx context.Context, wanted ...kube.Access) (granted, error) {
	answers := make([]bool, len(wanted))
	failures := make([]error, len(wanted))
	var reviews sync.WaitGroup
	for n, a := range wanted {
		reviews.Go(func() { answers[n], failures[n] = c.isAllowed(ctx, a) })
	}
	reviews.Wait()
	out := granted{}
	for n, a := range wanted {
		if failures[n] != nil {
			return nil, failures[n]
		}
		out[a] = answers[n]
	}
	return out, nil
}

func (c *userCluster) isAllowed(ctx context.Context, a kube.Access) (bool, error) {
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range c.user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	review, err := c.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: c.user.Name, UID: c.user.UID, Groups: c.user.Groups, Extra: extra,
			ResourceAttributes: a.Attributes(),
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return false, fmt.Errorf("review the permissions of %q: %w", c.user.Name, err)
	}
	return review.Status.Allowed && !review.Status.Denied, nil
}

// missingOf names the permissions that are missing; empty: none.
func (g granted) missingOf(wanted ...kube.Access) string {
	var missing []string
	for _, a := range wanted {
		if !g[a] {
			missing = append(missing, a.String())
		}
	}
	if len(missing) == 0 {
		return ""
	}
	return "missing permissions: " + strings.Join(missing, "; ")
}

// requireAccess is an error unless the user has all of the permissions now.
func (c *userCluster) requireAccess(ctx context.Context, role string, wanted ...kube.Access) error {
	has, err := c.reviewAccess(ctx, wanted...)
	if err != nil {
		return err
	}
	if missing := has.missingOf(wanted...); missing != "" {
		return hint.AddTo(errors.New(missing), "an administrator can bind the ClusterRole %s to %s", role, c.user.Name)
	}
	return nil
}
