package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// askPage is the page on which a rotation in another cluster is asked for.
const askPage = "/ask"

func askPath(cluster string) string { return askPage + "?" + url.Values{"cluster": {cluster}}.Encode() }

// askForm is that page.
type askForm struct {
	Cluster  string
	Path     string
	Services []serviceChoice
	Error    string
	Hint     string
}

// canBeAsked reports whether the watcher of a cluster may receive a request now.
func (o OtherCluster) canBeAsked(now time.Time) bool {
	return o.Summary != nil && now.Sub(o.Written) <= v1alpha1.FreshFor(v1alpha1.SummaryHeartbeat)
}

// findAsked is the cluster of a request that the user may ask. Otherwise it answers the request.
func (s *Server) findAsked(w http.ResponseWriter, r *http.Request) (OtherClusters, string, bool) {
	source, is := s.options.Clusters.(OtherClusters)
	if !is {
		s.writeMessage(w, r, http.StatusNotFound, message{Title: "Page not found", Text: "There is nothing at this address.", Home: true})
		return nil, "", false
	}
	others, err := source.Others(r.Context())
	if err != nil {
		text, next := errorParts(err)
		s.writeMessage(w, r, http.StatusBadGateway, message{Title: "Other clusters are not known", Text: text, Hint: next, Home: true})
		return nil, "", false
	}
	if others.AskDenied != "" {
		s.writeMessage(w, r, http.StatusForbidden, message{Title: "Not permitted", Text: others.AskDenied, Home: true})
		return nil, "", false
	}
	name := r.URL.Query().Get("cluster")
	if !slices.ContainsFunc(others.Found, func(o OtherCluster) bool { return o.Name == name && o.canBeAsked(s.options.Now()) }) {
		s.writeMessage(w, r, http.StatusNotFound, message{Title: "Unknown cluster", Text: "No cluster " + name + " has shared a summary that is readable and not stale.", Home: true})
		return nil, "", false
	}
	return source, name, true
}

func (s *Server) showAsk(w http.ResponseWriter, r *http.Request) {
	if _, name, found := s.findAsked(w, r); found {
		s.writeAsk(w, r, http.StatusOK, name, nil)
	}
}

func (s *Server) writeAsk(w http.ResponseWriter, r *http.Request, status int, name string, wrong error) {
	form := askForm{Cluster: name, Path: askPath(name)}
	form.Error, form.Hint = errorParts(wrong)
	for _, service := range certs.Services() {
		form.Services = append(form.Services, serviceChoice{Service: service})
	}
	s.writePage(w, r, status, "ask.html", "Ask for a rotation", form)
}

// sendAsk sends the request. A browser that disconnects does not interrupt it.
func (s *Server) sendAsk(w http.ResponseWriter, r *http.Request) {
	source, name, found := s.findAsked(w, r)
	if !found || !s.readForm(w, r) {
		return
	}
	services, err := certs.ParseServices(r.PostForm["service"])
	if err == nil && len(services) == 0 {
		err = errors.New("no service is chosen")
	}
	if err != nil {
		s.writeAsk(w, r, http.StatusBadRequest, name, err)
		return
	}
	id, err := source.AskRotation(context.WithoutCancel(r.Context()), name, services)
	if err != nil {
		s.writeAsk(w, r, http.StatusBadGateway, name, err)
		return
	}
	s.writeMessage(w, r, http.StatusOK, message{Title: "The rotation is asked for", Home: true,
		Text: "The watcher of " + name + " decides by its RotationPolicy, which permits no request by default. The request is " + id + ". " +
			"Its answer appears on the first page, below the other clusters, usually within a minute."})
}
