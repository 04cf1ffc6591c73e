package dashboard

import (
	"context"
	"errors"
	"net/http"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// createPlan answers the button of the dialog: planning continues in the background, and its page
// shows it.
func (s *Server) createPlan(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || !s.readForm(w, r) || s.refuseWithout(w, r, named, RightRotate) {
		return
	}
	choice, err := parseChoice(r.PostForm)
	if err != nil {
		s.writeChoice(w, r, http.StatusBadRequest, named, choice, err)
		return
	}
	if running := s.work.runningOn(clusterKey(named)); len(running) > 0 {
		s.redirectTo(w, r, running[0].Path+"?note="+string(planBusy))
		return
	}
	planned, _, err := s.beginPlanning(named, choice)
	if err != nil {
		s.writeMessage(w, r, http.StatusServiceUnavailable, message{Title: "Too many plans", Back: clusterPath(named.Name), Text: tooManyPlans})
		return
	}
	s.redirectTo(w, r, clusterPath(named.Name, "plans", planned.ID))
}

const tooManyPlans = "Other plans are being made, or the dashboard is stopping. Try again when they are there."

// beginPlanning makes a plan in the background. The channel is closed when it is there, or has failed.
func (s *Server) beginPlanning(c Context, choice Choice) (plannedRotation, <-chan struct{}, error) {
	ctx, cancel := context.WithCancel(s.background)
	planned, added := s.work.addPlan(c, choice, cancel)
	if !added {
		cancel()
		return plannedRotation{}, nil, &apiError{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Text: tooManyPlans}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		plan, err := callWithin(ctx, scanTimeout, func(ctx context.Context) (Plan, error) {
			defer s.work.freePlanner()
			return trackCall(s.open, func(ctx context.Context) (Plan, error) { return s.planRotation(ctx, c, choice) })(ctx)
		})
		if errors.Is(err, context.Canceled) {
			err = errors.New("planning was canceled")
		}
		s.work.finishPlan(planned.ID, plan, err)
	}()
	return planned, done, nil
}

// cancelPlan answers the button Cancel of a plan that is being made.
func (s *Server) cancelPlan(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || s.refuseReadOnly(w, r) {
		return
	}
	id := r.PathValue("id")
	if !s.work.cancelPlan(named.Name, id) {
		s.writeMissingPlan(w, r, named)
		return
	}
	s.redirectTo(w, r, clusterPath(named.Name, "plans", id))
}

func (s *Server) planRotation(ctx context.Context, c Context, choice Choice) (Plan, error) {
	cluster, err := s.options.Clusters.Open(c.Name)
	if err != nil {
		return Plan{}, err
	}
	return cluster.Plan(ctx, choice)
}

// planView is the page of a plan.
type planView struct {
	plannedRotation
	Path     string // of the cluster
	Words    string
	State    planState
	Again    int // milliseconds until the page asks again
	Error    string
	Hint     string
	Restarts []string // the services that restart on any node
	Waves    []waveView
	Offer    offer
	Running  []ownRotation
	Started  string // address of its rotation
}

// waveView are the nodes of one wave.
type waveView struct {
	Number int
	Steps  []stepView
}

func (s *Server) showPlan(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found {
		return
	}
	planned, state, found := s.work.findPlan(named.Name, r.PathValue("id"))
	if !found {
		s.writeMissingPlan(w, r, named)
		return
	}
	view := planView{plannedRotation: planned, Path: clusterPath(named.Name), Words: choiceWords(planned.Choice), State: state,
		Running: s.work.runningOn(clusterKey(named)), Offer: offer{Possible: !s.options.ReadOnly, Why: readOnlyText}}
	if why, _ := s.knownDenial(named, RightRotate); why != "" {
		view.Offer = offer{Why: why}
	}
	view.Error, view.Hint = errorParts(planned.Err)
	if state == planScanning {
		view.Again = 1000
	}
	if planned.Rotation != "" {
		view.Started = clusterPath(named.Name, "rotations", planned.Rotation)
	}
	if planned.Plan != nil {
		view.Waves, view.Restarts = wavesOf(planned.Plan.Document.Steps)
	}
	s.writePage(w, r, http.StatusOK, "plan.html", "Plan for "+named.Name, view)
}

// writeMissingPlan answers for a plan that this process does not have, or not anymore.
func (s *Server) writeMissingPlan(w http.ResponseWriter, r *http.Request, c Context) {
	s.writeMessage(w, r, http.StatusNotFound, message{Title: "Unknown plan", Back: clusterPath(c.Name),
		Text: "This dashboard has no such plan: it has been restarted since, or the plan is one of the oldest. Choose again what to rotate."})
}

// asTooLarge reports whether a body was larger than a request may be.
func asTooLarge(err error) (*http.MaxBytesError, bool) {
	var large *http.MaxBytesError
	return large, errors.As(err, &large)
}

// serviceWords are services as text.
func serviceWords(services []certs.Service) []string {
	var out []string
	for _, service := range services {
		out = append(out, string(service))
	}
	return out
}
