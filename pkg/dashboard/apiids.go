package dashboard

import (
	"crypto/sha256"
	"fmt"
	"regexp"
	"slices"
)

var (
	plainID  = regexp.MustCompile(`^[A-Za-z0-9][-A-Za-z0-9._]{0,62}$`)
	hashedID = regexp.MustCompile(`^c-[0-9a-f]{16}$`)
)

// clusterID is the id of a context in the API: its name where that can be part of a path as it is,
// else a hash of it. The id is the same each time the dashboard is started.
func clusterID(context string) string {
	if plainID.MatchString(context) && !hashedID.MatchString(context) {
		return context
	}
	sum := sha256.Sum256([]byte(context))
	return fmt.Sprintf("c-%x", sum[:8])
}

// contextByID is the context that the path of a request names.
func (s *Server) contextByID(id string) (Context, error) {
	all := s.options.Clusters.Contexts()
	i := slices.IndexFunc(all, func(c Context) bool { return clusterID(c.Name) == id })
	if i < 0 {
		return Context{}, notFound(fmt.Sprintf("no context of the kubeconfig has the id %q", id), "GET /api/v1/clusters or /v3/clusters lists them")
	}
	return all[i], nil
}
