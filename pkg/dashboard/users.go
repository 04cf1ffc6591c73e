package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// User is a user of the Kubernetes API.
type User struct {
	Name   string
	UID    string
	Groups []string
	Extra  map[string][]string
	// Until is when the credentials expire; zero: that is not known.
	Until time.Time `json:"-"`
}

// identity is the same for two users only if their rights are the same.
func (u User) identity() string {
	text, _ := json.Marshal(u) // texts can be encoded
	return string(text)
}

// ErrNotAccepted means that a token is not that of a user. It is wrapped with the reason.
var ErrNotAccepted = errors.New("the token was not accepted")

// Users identifies the users of a dashboard of several users, and gives each the clusters as their
// permissions show them.
type Users interface {
	// ReviewToken returns the user of a token; [ErrNotAccepted] if it is not valid for a dashboard. It
	// does not keep the token.
	ReviewToken(ctx context.Context, token string) (User, error)
	// NamedByProxy returns the user that a trusted proxy names in a request; false: it is not from one.
	NamedByProxy(r *http.Request) (User, bool)
	// ClustersOf returns the clusters as a user may see them.
	ClustersOf(User) Clusters
}
