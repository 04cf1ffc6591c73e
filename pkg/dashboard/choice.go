package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// choiceForm is the dialog "Rotate certificates", and the page of its own that it is without a
// script.
type choiceForm struct {
	Path     string // of the cluster
	Name     string // of the context
	Error    string
	All      bool
	Services []serviceChoice
	Nodes    []nodeChoice // by name
	NodeText string       // where there are too many to list
	Restart  []restartChoice
	Broken   bool // the old keys are compromised
	Offer    offer
	Mark     bool // the watcher is installed: marks are an alternative
}

type serviceChoice struct {
	Service certs.Service
	Chosen  bool
	Count   int
	First   time.Time // the earliest end
	Word    condition
}

type nodeChoice struct {
	Name   string
	Chosen bool
}

type restartChoice struct {
	Policy plan.RestartPolicy
	Text   string
	Chosen bool
}

var restartTexts = map[plan.RestartPolicy]string{
	plan.RestartAlways:   "restart every component whose certificate is replaced, one node at a time",
	plan.RestartIfNeeded: "restart only components that do not re-read their files",
	plan.RestartNever:    "restart nothing; components that still serve the old certificate are reported",
}

// newChoiceForm is the form with a choice; the zero Choice is all services on every node.
func newChoiceForm(c Context, items []v1alpha1.Certificate, choice Choice, now time.Time) choiceForm {
	form := choiceForm{Path: clusterPath(c.Name), Name: c.Name, All: len(choice.Services) == 0, Broken: choice.Compromised, NodeText: strings.Join(choice.Nodes, " ")}
	for _, service := range certs.Services() {
		form.Services = append(form.Services, serviceChoice{Service: service, Chosen: slices.Contains(choice.Services, service), Word: unknown})
	}
	for i := range items {
		form.addCertificate(&items[i], now)
	}
	if names := nodesOf(items); len(names) > 0 && len(names) <= manyNodes {
		for _, name := range names {
			form.Nodes = append(form.Nodes, nodeChoice{Name: name, Chosen: slices.Contains(choice.Nodes, name)})
		}
	}
	if choice.Restart == "" {
		choice.Restart = plan.RestartAlways
	}
	for _, name := range plan.RestartPolicies() {
		policy := plan.RestartPolicy(name)
		form.Restart = append(form.Restart, restartChoice{Policy: policy, Text: restartTexts[policy], Chosen: policy == choice.Restart})
	}
	return form
}

func (f *choiceForm) addCertificate(c *v1alpha1.Certificate, now time.Time) {
	i := serviceRank(c.Service)
	if i < 0 {
		return
	}
	service := &f.Services[i]
	service.Count++
	if word := conditionOf(statusNow(c.Status, c.NotAfter, now)); rankOf(word) < rankOf(service.Word) || service.Count == 1 {
		service.Word = word
	}
	if !c.NotAfter.IsZero() && (service.First.IsZero() || c.NotAfter.Before(service.First)) {
		service.First = c.NotAfter
	}
}

var nodeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// parseChoice reads the form. An error says which field contradicts which.
func parseChoice(form url.Values) (Choice, error) {
	choice := Choice{Restart: plan.RestartPolicy(form.Get("restart")), Compromised: form.Get("compromised") != ""}
	services, err := certs.ParseServices(form["service"])
	if err != nil {
		return choice, err
	}
	choice.Services = services
	choice.Nodes, err = parseNodes(form["node"])
	switch scope := form.Get("scope"); {
	case err != nil:
		return choice, err
	case scope != "all" && scope != "some":
		return choice, errors.New("choose all services, or one or several")
	case scope == "all" && len(services) > 0:
		return choice, errors.New("all services are chosen, and single ones as well: choose one of the two")
	case scope == "some" && len(services) == 0:
		return choice, errors.New("no service is chosen")
	case !slices.Contains(plan.RestartPolicies(), string(choice.Restart)):
		return choice, errors.New("choose when components restart")
	}
	return choice, checkCompromised(choice)
}

func checkCompromised(c Choice) error {
	if c.Compromised && c.Restart == plan.RestartNever {
		return errors.New("compromised keys exclude the restart policy never: a component that is not restarted keeps its old key")
	}
	return nil
}

// parseNodes reads the names of nodes, separated by commas or spaces.
func parseNodes(fields []string) ([]string, error) {
	var nodes []string
	for _, name := range strings.FieldsFunc(strings.Join(fields, ","), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		if !nodeName.MatchString(name) {
			return nil, errors.New("a node is not named as nodes are: " + name)
		}
		if !slices.Contains(nodes, name) {
			nodes = append(nodes, name)
		}
	}
	return nodes, nil
}

// showChoice is the page that the dialog is without a script.
func (s *Server) showChoice(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found {
		return
	}
	query := r.URL.Query()
	services, err := certs.ParseServices(query["service"])
	if err != nil {
		services = nil
	}
	s.writeChoice(w, r, http.StatusOK, named, Choice{Services: services}, nil)
}

// writeChoice is the page with a choice, and the error in it.
func (s *Server) writeChoice(w http.ResponseWriter, r *http.Request, status int, c Context, choice Choice, wrong error) {
	view := s.viewCluster(r.Context(), c)
	form := s.formOf(view, choice)
	form.Error, _ = errorParts(wrong)
	s.writePage(w, r, status, "choice.html", "Rotate certificates of "+c.Name, form)
}

// formOf is the form for the certificates that a cluster's page shows.
func (s *Server) formOf(view clusterView, choice Choice) choiceForm {
	var items []v1alpha1.Certificate
	if view.List != nil {
		items = view.List.Items
	}
	form := newChoiceForm(view.Context, items, choice, s.options.Now())
	form.Offer = s.offerOf(view.State, RightRotate)
	form.Mark = view.State != nil && view.State.Watcher != nil
	return form
}
