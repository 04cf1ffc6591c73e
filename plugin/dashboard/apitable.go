package dashboard

import (
	"net/http"
	"slices"

	"github.com/rotate-certs/rotate-certs/plugin/dashboard/openapi"
)

// apiRoutes are the routes of both APIs.
func apiRoutes() []apiRoute { return slices.Concat(v3Routes(), ownRoutes()) }

// v3Routes are those of Rancher's API.
func v3Routes() []apiRoute {
	return []apiRoute{
		getRoute(v3Root, "Address of the schemas", (*Server).showV3Root),
		getRoute(v3Root+"/schemas", "Types of this API", (*Server).listV3Schemas),
		getRoute(v3Root+"/clusters", "All clusters", (*Server).listV3Clusters).withQuery(
			openapi.Parameter{Name: "id", Text: "the id of the cluster"},
			openapi.Parameter{Name: "name", Text: "the name of the context"},
			openapi.Parameter{Name: "state", Text: "the state of the cluster"}),
		getRoute(v3Root+"/clusters/{id}", "One cluster", (*Server).showV3Cluster),
		postRoute(v3Root+"/clusters/{id}", "Plan a rotation, and start it: the answer comes once it has begun", http.StatusOK, (*Server).runV3Action).withQuery(
			openapi.Parameter{Name: "action", Text: "the action", Required: true, Values: []string{v3Action}}),
	}
}

// ownRoutes are those of our own API.
func ownRoutes() []apiRoute { return nil }
