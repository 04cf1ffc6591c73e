package dashboard

import (
	"net/http"
	"net/url"
	"reflect"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/dashboard/openapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// showOpenAPI answers with the description of both APIs. It is made of the routes that are served.
func (s *Server) showOpenAPI(call *apiCall) {
	host := url.URL{Host: call.r.Host}
	writeDocument(call.w, http.StatusOK, contentJSON, s.describeAPI(call.addressOf(""), cookieName(host.Port())))
}

// describeAPI describes the API as it is served below an address.
func (s *Server) describeAPI(address, cookie string) map[string]any {
	document := openapi.Document{
		Address: address,
		Title:   "kubectl rotate-certs dashboard", Version: s.options.Version,
		Description: "Below " + v3Root + " Rancher's API, as far as it is about certificates of clusters; below " + apiRoot + " our own.",
		Session:     cookie, Errors: errorOf,
		Values: openapi.Values{
			reflect.TypeFor[certs.Service]():      serviceWords(certs.Services()),
			reflect.TypeFor[plan.RestartPolicy](): plan.RestartPolicies(),
			reflect.TypeFor[planState]():          planStates(),
			reflect.TypeFor[outcomeState]():       outcomeStates(),
		},
	}
	for _, route := range apiRoutes() {
		document.Routes = append(document.Routes, route.Route)
	}
	return document.Build()
}

// errorOf is the form of a route's errors.
func errorOf(route openapi.Route) (form reflect.Type, content string) {
	if isBelow(route.Path, v3Root) {
		return reflect.TypeFor[v3Error](), contentJSON
	}
	return reflect.TypeFor[problem](), contentProblem
}
