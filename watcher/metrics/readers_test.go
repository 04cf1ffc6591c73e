package metrics

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// reviewer answers reviews as an API server does that knows two tokens, of which one's
// bearer may read metrics.
type reviewer struct {
	down  bool
	asked int
}

func (a *reviewer) review(action clienttesting.Action) (bool, runtime.Object, error) {
	a.asked++
	if a.down {
		return true, nil, errors.New("connection refused")
	}
	created, _ := action.(clienttesting.CreateAction)
	switch o := created.GetObject().(type) {
	case *authenticationv1.TokenReview:
		o = o.DeepCopy()
		if o.Spec.Token == "prometheus" || o.Spec.Token == "agent" {
			o.Status = authenticationv1.TokenReviewStatus{Authenticated: true, User: authenticationv1.UserInfo{
				Username: o.Spec.Token, UID: "7", Groups: []string{"system:authenticated"}, Extra: map[string]authenticationv1.ExtraValue{"scopes": {"metrics"}}}}
		}
		return true, o, nil
	case *authorizationv1.SubjectAccessReview:
		o = o.DeepCopy()
		want := authorizationv1.SubjectAccessReviewSpec{
			User: "prometheus", UID: "7", Groups: []string{"system:authenticated"}, Extra: map[string]authorizationv1.ExtraValue{"scopes": {"metrics"}},
			NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: "/metrics", Verb: "get"},
		}
		o.Status.Allowed = assert.ObjectsAreEqual(want, o.Spec)
		return true, o, nil
	}
	return false, nil, nil
}

func TestReaders(t *testing.T) {
	api, now := &reviewer{}, noon
	client := fake.NewClientset()
	client.PrependReactor("create", "*", api.review)
	readers := &Readers{Client: client, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}
	handler := readers.AuthorizedOnly(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "metrics") }))
	status := func(authorization string) int {
		request := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/metrics", nil)
		if authorization != "" {
			request.Header.Set("Authorization", authorization)
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		assert.Equal(t, answer.Code == http.StatusOK, answer.Body.String() == "metrics")
		return answer.Code
	}
	for _, c := range []struct {
		name, authorization string
		want, asked         int
	}{
		{"without a token", "", http.StatusUnauthorized, 0},
		{"a password", "Basic cHJvbWV0aGV1czp4", http.StatusUnauthorized, 0},
		{"an empty token", "Bearer ", http.StatusUnauthorized, 0},
		{"an unknown token", "Bearer stolen", http.StatusUnauthorized, 1},
		{"without the right", "Bearer agent", http.StatusForbidden, 2},
		{"a refusal is not kept", "Bearer agent", http.StatusForbidden, 2},
		{"with the right", "Bearer prometheus", http.StatusOK, 2},
		{"the answer holds", "Bearer prometheus", http.StatusOK, 0},
	} {
		before := api.asked
		assert.Equal(t, c.want, status(c.authorization), c.name)
		assert.Equal(t, c.asked, api.asked-before, c.name)
	}
	api.down = true
	now = now.Add(59 * time.Second)
	assert.Equal(t, http.StatusOK, status("Bearer prometheus"), "the API server need not be there for a minute")
	now = now.Add(time.Second)
	assert.Equal(t, http.StatusServiceUnavailable, status("Bearer prometheus"))
	api.down = false
	assert.Equal(t, http.StatusOK, status("Bearer prometheus"))
	assert.Len(t, readers.allowed, 1)
}
