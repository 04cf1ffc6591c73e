package dashboard

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// apiPageView is the page "View in API" of a cluster: each request with its curl line.
type apiPageView struct {
	Context Context
	Path    string // of the cluster
	File    string // of the token; empty: there is none
	Groups  []apiGroup
}

// apiGroup are the requests of one API.
type apiGroup struct {
	Title    string
	Requests []apiRequest
}

// apiRequest is a request for a cluster.
type apiRequest struct {
	Name    string // of its elements
	Method  string
	Shown   string // its path
	Summary string
	Curl    string
	Body    string
	Starts  bool   // it starts a rotation
	Send    string // path to send it to; empty: a part of it is not known, or it has no end
	Why     string // it is not offered
}

// unknownFile stands for the file of the token where there is none.
const unknownFile = "FILE"

func (s *Server) showAPI(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found {
		return
	}
	view := apiPageView{Context: named, Path: clusterPath(named.Name), File: s.options.TokenFile,
		Groups: []apiGroup{{Title: "Rancher's API"}, {Title: "The API of this dashboard"}}}
	last := s.awaitState(r.Context(), named)
	known := s.work.newestIDs(named.Name)
	known["id"] = clusterID(named.Name)
	if journals := s.journals.latestResult(named.Name).Value; journals != nil && len(journals.Items) > 0 {
		known["journal"] = journals.Items[0].ID
	}
	for _, route := range apiRoutes() {
		if !strings.Contains(route.Path, "{id}") {
			continue
		}
		request := s.newAPIRequest(r.Host, route, known)
		switch {
		case route.right != "":
			request.Why = s.offerOf(last.Value, route.right).Why
		case route.Method != http.MethodGet && s.options.ReadOnly:
			request.Why = readOnlyText
		}
		if request.Why != "" {
			request.Send = ""
		}
		group := &view.Groups[1]
		if isBelow(route.Path, v3Root) {
			group = &view.Groups[0]
		}
		group.Requests = append(group.Requests, request)
	}
	s.writePage(w, r, http.StatusOK, "api.html", "API of "+named.Name, view)
}

// newAPIRequest is a route with the ids that are known in its path.
func (s *Server) newAPIRequest(host string, route apiRoute, known map[string]string) apiRequest {
	out := apiRequest{Name: route.OperationID(), Method: route.Method, Shown: route.Path, Summary: route.Summary, Body: route.Example, Starts: route.starts}
	complete := route.Content != contentEvents
	for _, name := range route.PathParameters() {
		id := known[name]
		if id == "" {
			complete = false
			id = strings.ToUpper(name)
		}
		out.Shown = strings.Replace(out.Shown, "{"+name+"}", url.PathEscape(id), 1)
	}
	for _, parameter := range route.Query {
		if parameter.Required {
			out.Shown += "?" + parameter.Name + "=" + parameter.Values[0]
		}
	}
	if complete {
		out.Send = out.Shown
	}
	out.Curl = s.curlLine(route, "http://"+host+out.Shown)
	return out
}

// curlLine is the command line of a request. The token is passed on the standard input: other users
// of the machine can read the arguments of a process.
func (s *Server) curlLine(route apiRoute, address string) string {
	file := unknownFile
	if s.options.TokenFile != "" {
		file = printers.ShellWord(s.options.TokenFile)
	}
	line := `printf 'Authorization: Bearer %s' "$(cat ` + file + `)" | curl -sS -H @-`
	if route.Content == contentEvents {
		line += " -N"
	}
	if route.Method != http.MethodGet {
		line += " -X " + route.Method
	}
	if route.Example != "" {
		line += " -H 'Content-Type: application/json' -d " + printers.ShellWord(route.Example)
	}
	return line + " " + printers.ShellWord(address)
}
