package metrics

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Readers authorizes readers of metrics: the API server must accept their bearer token, and
// they need the right to "get" the non-resource URL /metrics.
type Readers struct {
	Client kubernetes.Interface
	Log    *slog.Logger
	Now    func() time.Time

	mu      sync.Mutex
	allowed map[[sha256.Size]byte]time.Time // by hash of the token, until when it is not reviewed again
}

// metricsPath is the URL that a reader needs the right to get.
const metricsPath = "/metrics"

// AuthorizedOnly serves authorized readers only.
func (r *Readers) AuthorizedOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		token, ok := strings.CutPrefix(q.Header.Get("Authorization"), "Bearer ")
		if !ok || token == "" {
			w.Header().Set("WWW-Authenticate", "Bearer")
			http.Error(w, "a bearer token is required", http.StatusUnauthorized)
			return
		}
		status, err := r.checkToken(q.Context(), token)
		if err != nil {
			if status == http.StatusServiceUnavailable {
				r.Log.Warn("authorize a reader of metrics", "error", err)
			}
			http.Error(w, hint.TextOf(err), status)
			return
		}
		next.ServeHTTP(w, q)
	})
}

// checkToken returns an error if the bearer of a token is not authorized, and the HTTP status.
func (r *Readers) checkToken(ctx context.Context, token string) (int, error) {
	hash := sha256.Sum256([]byte(token))
	if r.recentlyAllowed(hash) {
		return http.StatusOK, nil
	}
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	review, err := r.Client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
		Spec: authenticationv1.TokenReviewSpec{Token: token},
	}, metav1.CreateOptions{})
	if err != nil {
		return http.StatusServiceUnavailable, fmt.Errorf("review token: %w", err)
	}
	if !review.Status.Authenticated {
		return http.StatusUnauthorized, fmt.Errorf("the API server does not accept the token")
	}
	user := review.Status.User
	extra := map[string]authorizationv1.ExtraValue{}
	for key, values := range user.Extra {
		extra[key] = authorizationv1.ExtraValue(values)
	}
	access, err := r.Client.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{
			User: user.Username, Groups: user.Groups, UID: user.UID, Extra: extra,
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: metricsPath, Verb: "get"},
		},
	}, metav1.CreateOptions{})
	if err != nil {
		return http.StatusServiceUnavailable, fmt.Errorf("review access of %q: %w", user.Username, err)
	}
	if !access.Status.Allowed {
		return http.StatusForbidden, fmt.Errorf("%q may not get the non-resource URL %q", user.Username, metricsPath)
	}
	r.rememberAllowed(hash)
	return http.StatusOK, nil
}

func (r *Readers) recentlyAllowed(hash [sha256.Size]byte) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Now().Before(r.allowed[hash])
}

func (r *Readers) rememberAllowed(hash [sha256.Size]byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.Now()
	if r.allowed == nil {
		r.allowed = map[[sha256.Size]byte]time.Time{}
	}
	for old, until := range r.allowed {
		if !now.Before(until) {
			delete(r.allowed, old)
		}
	}
	// This saves two requests at every scrape. Refusals are not kept, so that a granted right
	// takes effect at once.
	r.allowed[hash] = now.Add(time.Minute)
}
