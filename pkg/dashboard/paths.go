package dashboard

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// clusterPath is the path of a page of a context. A kubeconfig may name a context by any text, so
// that the name is escaped; a name that a browser would take for a directory gets a prefix.
func clusterPath(context string, below ...string) string {
	if context == "" || context == "." || context == ".." || strings.HasPrefix(context, "~") {
		context = "~" + context
	}
	path := "/clusters/" + url.PathEscape(context)
	for _, segment := range below {
		path += "/" + url.PathEscape(segment)
	}
	return path
}

// findContext is the context that the path of a request names. Where there is none, it answers
// the request.
func (s *Server) findContext(w http.ResponseWriter, r *http.Request) (Context, bool) {
	name := strings.TrimPrefix(r.PathValue("context"), "~")
	if named, found := s.contextNamed(name); found {
		return named, true
	}
	s.writeMessage(w, r, http.StatusNotFound, message{Title: "Unknown context", Home: true,
		Text: "There is no context " + name + "."})
	return Context{}, false
}

func (s *Server) contextNamed(name string) (Context, bool) {
	all := s.options.Clusters.Contexts()
	i := slices.IndexFunc(all, func(c Context) bool { return c.Name == name })
	if i < 0 {
		return Context{}, false
	}
	return all[i], true
}

// clusterKey is the same for all contexts of one API server: they are one cluster, on which one
// rotation may be in progress.
func clusterKey(c Context) string {
	if c.Key != "" {
		return "key " + c.Key
	}
	server, err := url.Parse(strings.TrimSpace(c.Server))
	if err != nil || server.Host == "" {
		return "context " + c.Name
	}
	port := server.Port()
	if port == "" {
		port = map[string]string{"http": "80"}[strings.ToLower(server.Scheme)]
	}
	if port == "" {
		port = "443"
	}
	host := strings.TrimSuffix(strings.ToLower(server.Hostname()), ".")
	return host + ":" + port + strings.TrimRight(server.EscapedPath(), "/")
}

// errorParts is the text of an error, and its hint.
func errorParts(err error) (text, next string) {
	if err == nil {
		return "", ""
	}
	return printers.CleanLines(strings.TrimSpace(err.Error())), printers.CleanLines(strings.Join(hint.AllOf(err), "\n"))
}
