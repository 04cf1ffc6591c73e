package dashboard

import (
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// apiRotation is a rotation that this dashboard has begun.
type apiRotation struct {
	ID        string                   `json:"id" doc:"in this dashboard; the report has the id in the journals"`
	Cluster   string                   `json:"cluster" doc:"id of the cluster"`
	State     outcomeState             `json:"state" doc:"InProgress or Stopping; then Succeeded, SucceededWithLeftOut, SucceededInPart, RolledBack, Failed, ManualInterventionRequired, Interrupted, NotBegun, NotFollowed (the watcher continues it) or NoReport"`
	Message   string                   `json:"message,omitempty" doc:"explains the state"`
	Hint      string                   `json:"hint,omitempty"`
	Choice    apiChoice                `json:"choice"`
	Began     time.Time                `json:"began"`
	Ended     *time.Time               `json:"ended,omitempty" doc:"absent: it is in progress"`
	ByWatcher bool                     `json:"byWatcher,omitempty" doc:"the watcher carries it out"`
	Command   string                   `json:"command,omitempty" doc:"the command line that does the same"`
	Nodes     []apiNode                `json:"nodes" doc:"the nodes of the plan, in its order"`
	Events    string                   `json:"events" doc:"address of the events"`
	Self      string                   `json:"self" doc:"address of this rotation"`
	Report    *v1alpha1.RotationReport `json:"report,omitempty" doc:"the report, as the command prints it; absent until the end"`
}

// apiNode is the progress of a node.
type apiNode struct {
	Node  string `json:"node"`
	Phase string `json:"phase" doc:"later, not begun, or that of its last event"`
	Text  string `json:"text,omitempty"`
}

func describeRotation(call *apiCall, r *rotation) apiRotation {
	view := r.viewOutcome()
	self := call.addressOf(rotationAddress(r))
	out := apiRotation{ID: r.ID, Cluster: clusterID(r.Context.Name), State: view.State, Message: view.Text, Hint: view.Hint, Choice: describeChoice(r.Choice),
		Began: r.Began.UTC(), ByWatcher: r.Plan.ByWatcher, Command: r.Plan.Command, Nodes: []apiNode{}, Self: self, Events: self + "/events"}
	for _, node := range nodesInProgress(r.Plan.Document.Steps, r.log.viewLog(), view.Ended) {
		out.Nodes = append(out.Nodes, apiNode{Node: node.Node, Phase: node.Phase, Text: node.Text})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out.Ended = timeOrNil(r.ended)
	out.Report = r.report
	return out
}

// listAPIRotations lists the rotations that this dashboard has begun, newest first.
func (s *Server) listAPIRotations(call *apiCall) (apiList[apiRotation], error) {
	out := apiList[apiRotation]{Items: []apiRotation{}}
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return out, err
	}
	for _, r := range slices.Backward(s.work.allOf(clusterKey(named))) {
		item := describeRotation(call, r)
		item.Report = nil // it may be long, and is with the rotation
		out.Items = append(out.Items, item)
	}
	return out, nil
}

// rotationByPath is the rotation that the path of a request names.
func (s *Server) rotationByPath(call *apiCall) (*rotation, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	r := s.work.findRotation(named.Name, call.r.PathValue("rotation"))
	if r == nil {
		return nil, notFound("there is no such rotation", "the dashboard has been started again since, or the rotation is one of the oldest: kubectl rotate-certs history reads the journals")
	}
	return r, nil
}

func (s *Server) readAPIRotation(call *apiCall) (apiRotation, error) {
	r, err := s.rotationByPath(call)
	if err != nil {
		return apiRotation{}, err
	}
	return describeRotation(call, r), nil
}

// stopAPIRotation stops a rotation as Ctrl-C stops the command.
func (s *Server) stopAPIRotation(call *apiCall, _ nothing) (apiRotation, error) {
	r, err := s.rotationByPath(call)
	if err != nil {
		return apiRotation{}, err
	}
	r.interrupt(fleet.ErrInterrupted)
	return describeRotation(call, r), nil
}

// streamAPIEvents sends the events of a rotation.
func (s *Server) streamAPIEvents(call *apiCall) {
	r, err := s.rotationByPath(call)
	if err != nil {
		s.writeAPIError(call.w, call.r, err)
		return
	}
	s.streamRotation(call.w, call.r, r)
}
