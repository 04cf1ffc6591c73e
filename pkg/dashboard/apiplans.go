package dashboard

import (
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// apiChoice says what to rotate. As for the command, all services are chosen by "all" only.
type apiChoice struct {
	All         bool               `json:"all,omitempty" doc:"all services; excludes services"`
	Services    []certs.Service    `json:"services,omitempty" doc:"the services to rotate"`
	Nodes       []string           `json:"nodes,omitempty" doc:"the nodes to rotate on; absent: every node"`
	Restart     plan.RestartPolicy `json:"restart,omitempty" doc:"which components restart; absent: always"`
	Compromised bool               `json:"compromised,omitempty" doc:"the old keys are compromised"`
}

// apiPlan is a plan, and the state of its making.
type apiPlan struct {
	ID        string                 `json:"id"`
	Cluster   string                 `json:"cluster" doc:"id of the cluster"`
	State     planState              `json:"state" doc:"scanning, failed, ready, empty (nothing to renew), started, old, void (another rotation has ended since), or busy (another is in progress)"`
	Choice    apiChoice              `json:"choice"`
	Began     time.Time              `json:"began"`
	Ended     *time.Time             `json:"ended,omitempty" doc:"when the plan was made; absent: the nodes are being scanned"`
	Error     string                 `json:"error,omitempty" doc:"why it could not be made"`
	Hint      string                 `json:"hint,omitempty"`
	ByWatcher bool                   `json:"byWatcher,omitempty" doc:"the watcher would carry it out; it scans and plans again before it begins"`
	Notes     []string               `json:"notes,omitempty"`
	Command   string                 `json:"command,omitempty" doc:"the command line that does the same"`
	Plan      *v1alpha1.RotationPlan `json:"plan,omitempty" doc:"the plan, as the command plan prints it"`
	Rotation  string                 `json:"rotation,omitempty" doc:"address of the rotation that carries it out"`
}

// readChoice checks a choice as the dialog does.
func (c apiChoice) readChoice() (Choice, error) {
	out := Choice{Restart: plan.RestartAlways, Compromised: c.Compromised}
	if c.Restart != "" {
		out.Restart = c.Restart
	}
	services, err := certs.ParseServices(serviceWords(c.Services))
	if err != nil {
		text, hint := errorParts(err)
		return out, invalidField("services", text, hint)
	}
	out.Services = services
	if out.Nodes, err = parseNodes(c.Nodes); err != nil {
		return out, invalidField("nodes", err.Error(), "")
	}
	switch {
	case c.All && len(services) > 0:
		return out, invalidField("all", "all services are chosen, and single ones as well", "choose one of the two")
	case !c.All && len(services) == 0:
		return out, invalidField("services", "no service is chosen", `"services": ["etcd"], or "all": true`)
	case c.Nodes != nil && len(out.Nodes) == 0:
		return out, invalidField("nodes", "no node is chosen", "omit nodes for every node")
	case !slices.Contains(plan.RestartPolicies(), string(out.Restart)):
		return out, invalidField("restart", "unknown restart policy "+string(c.Restart), "always, if-needed or never")
	}
	if err := checkCompromised(out); err != nil {
		return out, invalidField("compromised", err.Error(), "")
	}
	return out, nil
}

func describeChoice(c Choice) apiChoice {
	return apiChoice{All: len(c.Services) == 0, Services: c.Services, Nodes: c.Nodes, Restart: c.Restart, Compromised: c.Compromised}
}

// createAPIPlan has a plan made. The answer does not wait for it.
func (s *Server) createAPIPlan(call *apiCall, in apiChoice) (apiPlan, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiPlan{}, err
	}
	choice, err := in.readChoice()
	if err != nil {
		return apiPlan{}, err
	}
	if err := s.permitRotation(call.r.Context(), named); err != nil {
		return apiPlan{}, err
	}
	planned, _, err := s.beginPlanning(named, choice)
	if err != nil {
		return apiPlan{}, err
	}
	call.w.Header().Set("Location", call.addressOf(apiClusterPath(clusterID(named.Name), "plans", planned.ID)))
	return describePlan(call, planned, planScanning), nil
}

func (s *Server) readPlan(call *apiCall) (apiPlan, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiPlan{}, err
	}
	planned, state, found := s.work.findPlan(named.Name, call.r.PathValue("plan"))
	if !found {
		return apiPlan{}, unknownPlan()
	}
	return describePlan(call, planned, state), nil
}

// cancelAPIPlan interrupts the making of a plan.
func (s *Server) cancelAPIPlan(call *apiCall, _ nothing) (apiPlan, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiPlan{}, err
	}
	if !s.work.cancelPlan(named.Name, call.r.PathValue("plan")) {
		return apiPlan{}, unknownPlan()
	}
	return s.readPlan(call)
}

func describePlan(call *apiCall, p plannedRotation, state planState) apiPlan {
	id := clusterID(p.Context.Name)
	out := apiPlan{ID: p.ID, Cluster: id, State: state, Choice: describeChoice(p.Choice), Began: p.Began.UTC(), Ended: timeOrNil(p.Ended)}
	out.Error, out.Hint = errorParts(p.Err)
	if p.Plan != nil {
		out.ByWatcher = p.Plan.ByWatcher
		out.Notes = p.Plan.Notes
		out.Command = p.Plan.Command
		out.Plan = &p.Plan.Document
	}
	if p.Rotation != "" {
		out.Rotation = call.addressOf(apiClusterPath(id, "rotations", p.Rotation))
	}
	return out
}

// apiStart starts a plan by its id, or plans what is chosen and starts that.
type apiStart struct {
	Plan string `json:"plan,omitempty" doc:"id of a plan; excludes the other fields"`
	apiChoice
}

// startAPIRotation starts a rotation. The answer comes once it has begun.
func (s *Server) startAPIRotation(call *apiCall, in apiStart) (apiRotation, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiRotation{}, err
	}
	var begun *rotation
	switch {
	case in.Plan == "":
		var choice Choice
		if choice, err = in.readChoice(); err == nil {
			begun, err = s.planAndBegin(call, named, choice)
		}
	case in.All || in.Services != nil || in.Nodes != nil || in.Restart != "" || in.Compromised:
		err = invalidField("plan", "a plan is given, and a choice as well", "choose one of the two")
	default:
		if err = s.permitRotation(call.r.Context(), named); err == nil {
			begun, err = s.beginPlan(call.r.Context(), named, in.Plan)
		}
	}
	if err != nil {
		return apiRotation{}, err
	}
	call.w.Header().Set("Location", call.addressOf(rotationAddress(begun)))
	return describeRotation(call, begun), nil
}
