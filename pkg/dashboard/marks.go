package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// markForm is the page that marks certificates as compromised.
type markForm struct {
	Context     Context
	Path        string
	Error       string
	Hint        string
	Services    []serviceChoice
	Nodes       string
	Fingerprint string
	Reason      string
	Offer       offer
}

func (s *Server) showMark(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if found {
		s.writeMark(w, r, http.StatusOK, named, r.URL.Query(), nil)
	}
}

// writeMark is the form with values, and the error in them.
func (s *Server) writeMark(w http.ResponseWriter, r *http.Request, status int, c Context, values url.Values, wrong error) {
	view := s.viewCluster(r.Context(), c)
	form := markForm{Context: c, Path: clusterPath(c.Name), Nodes: strings.Join(values["node"], " "), Fingerprint: values.Get("fingerprint"),
		Reason: values.Get("reason"), Offer: s.offerOf(view.State, RightMark)}
	if form.Offer.Possible && (view.State == nil || view.State.Watcher == nil) {
		form.Offer = offer{Why: "The watcher is not installed, and it is the watcher that replaces the keys. Rotate the certificates instead, with compromised keys."}
	}
	form.Error, form.Hint = errorParts(wrong)
	for _, service := range certs.Services() {
		form.Services = append(form.Services, serviceChoice{Service: service, Chosen: string(service) == values.Get("service")})
	}
	s.writePage(w, r, status, "mark.html", "Mark as compromised", form)
}

var fingerprintDigits = regexp.MustCompile(`^[0-9a-f]{64}$`)

// parseMark reads the form.
func parseMark(form url.Values) (Mark, error) {
	return checkMark(Mark{Service: certs.Service(form.Get("service")), Nodes: form["node"], Fingerprint: form.Get("fingerprint"), Reason: form.Get("reason")})
}

// checkMark returns a mark as it is created.
func checkMark(mark Mark) (Mark, error) {
	services, err := certs.ParseServices([]string{string(mark.Service)})
	if err != nil {
		return Mark{}, err
	}
	nodes, err := parseNodes(mark.Nodes)
	if err != nil {
		return Mark{}, err
	}
	mark.Service = services[0]
	mark.Nodes = nodes
	mark.Reason = strings.TrimSpace(mark.Reason)
	mark.Fingerprint = strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(mark.Fingerprint))
	switch {
	case mark.Fingerprint != "" && !fingerprintDigits.MatchString(mark.Fingerprint):
		return Mark{}, errors.New("the fingerprint is not a SHA-256: 64 hex digits, with or without colons")
	case mark.Reason == "":
		return Mark{}, errors.New("no reason given: it appears in events and in the status")
	case len(mark.Reason) > 1024:
		return Mark{}, errors.New("the reason is too long: at most 1024 bytes")
	}
	return mark, nil
}

func (s *Server) createMark(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || !s.readForm(w, r) || s.refuseWithout(w, r, named, RightMark) {
		return
	}
	mark, err := parseMark(r.PostForm)
	if err == nil {
		err = s.changeMark(r.Context(), named, func(ctx context.Context, cluster Cluster) error { return cluster.MarkCompromised(ctx, mark) })
	}
	if err != nil {
		s.writeMark(w, r, http.StatusBadRequest, named, r.PostForm, err)
		return
	}
	s.redirectTo(w, r, clusterPath(named.Name)+"#marks")
}

func (s *Server) deleteMark(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || s.refuseWithout(w, r, named, RightDeleteMark) {
		return
	}
	err := s.changeMark(r.Context(), named, func(ctx context.Context, cluster Cluster) error { return cluster.DeleteMark(ctx, r.PathValue("name")) })
	if err != nil {
		text, next := errorParts(err)
		s.writeMessage(w, r, http.StatusBadGateway, message{Title: "The mark was not deleted", Text: text, Hint: next, Back: clusterPath(named.Name)})
		return
	}
	s.redirectTo(w, r, clusterPath(named.Name)+"#marks")
}

// changeMark creates or deletes a mark, and has the next page read the state again. A browser that
// disconnects does not interrupt it.
func (s *Server) changeMark(ctx context.Context, c Context, change func(context.Context, Cluster) error) error {
	cluster, err := s.options.Clusters.Open(c.Name)
	if err != nil {
		return err
	}
	_, err = callWithin(context.WithoutCancel(ctx), wait.RequestTimeout, trackCall(s.open, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, change(ctx, cluster)
	}))
	s.states.expireResult(c.Name)
	s.summaries.expireResult(c.Name)
	return err
}
