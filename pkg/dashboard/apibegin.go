package dashboard

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"
)

func apiClusterPath(id string, below ...string) string {
	path := apiRoot + "/clusters/" + url.PathEscape(id)
	for _, segment := range below {
		path += "/" + url.PathEscape(segment)
	}
	return path
}

// rotationAddress is the path of a rotation in our API.
func rotationAddress(r *rotation) string {
	return apiClusterPath(clusterID(r.Context.Name), "rotations", r.ID)
}

// planAndBegin plans a rotation, waits for the plan, and starts it. A client that does not wait for
// the answer cancels the plan, and nothing is started.
func (s *Server) planAndBegin(call *apiCall, c Context, choice Choice) (*rotation, error) {
	if err := s.permitRotation(call.r.Context(), c); err != nil {
		return nil, err
	}
	planned, done, err := s.beginPlanning(c, choice)
	if err != nil {
		return nil, err
	}
	defer call.liftDeadlines()()
	waitUntil(call.r.Context(), done, scanTimeout+responseTimeout)
	if call.r.Context().Err() != nil {
		s.work.cancelPlan(c.Name, planned.ID)
		return nil, &apiError{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Text: "the client did not wait for the plan: nothing was started"}
	}
	return s.beginPlan(call.r.Context(), c, planned.ID)
}

// permitRotation is an error where no rotation may be started.
func (s *Server) permitRotation(ctx context.Context, c Context) error {
	if why := s.deniedReason(ctx, c, RightRotate); why != "" {
		return notPermitted("can not rotate certificates: " + why)
	}
	if running := s.work.runningRotation(clusterKey(c)); running != nil {
		return inProgress(running)
	}
	return nil
}

// inProgress leads to the rotation that is in progress.
func inProgress(r *rotation) *apiError {
	return &apiError{Status: http.StatusConflict, Code: codeConflict, Rotation: r,
		Text: "a rotation of this cluster is in progress: " + choiceWords(r.Choice), Next: "wait until it has ended, then try again"}
}

// beginPlan starts a plan, and waits until its rotation has begun.
func (s *Server) beginPlan(ctx context.Context, c Context, id string) (*rotation, error) {
	begun, state, found := s.work.beginRotation(c.Name, id)
	if !found {
		return nil, unknownPlan()
	}
	if state != planReady {
		planned, _, _ := s.work.findPlan(c.Name, id)
		return nil, whyNotBegun(state, planned.Err, begun)
	}
	go s.carryOut(begun)
	begun.awaitBegin(ctx)
	begun.mu.Lock()
	err := begun.err
	begun.mu.Unlock()
	if errors.Is(err, ErrNotBegun) {
		text, hint := errorParts(err)
		return nil, &apiError{Status: http.StatusConflict, Code: codeConflict, Text: text, Next: hint}
	}
	return begun, nil
}

func unknownPlan() *apiError {
	return notFound("there is no such plan", "the dashboard has been started again, or the plan is one of the oldest: plan again")
}

// whyNotBegun says why a plan was not started.
func whyNotBegun(state planState, failure error, other *rotation) *apiError {
	out := &apiError{Status: http.StatusConflict, Code: codeConflict, Rotation: other, Next: "plan again"}
	switch state {
	case planFailed:
		return fromCluster("the plan could not be made, and nothing was changed", failure)
	case planEmpty:
		return &apiError{Status: http.StatusUnprocessableEntity, Code: codeInvalidState, Text: "there is nothing to renew"}
	case planBusy:
		if other != nil {
			return inProgress(other)
		}
		out.Text = "a rotation of this cluster is in progress"
	case planStarted:
		out.Text = "this plan has been started already"
		out.Next = ""
	case planScanning:
		out.Text = "the plan is being made"
		out.Next = "try again when its state is ready"
	case planOld:
		out.Text = "this plan is too old"
	default:
		out.Text = "another rotation of this cluster has ended since this plan was made, or the dashboard is stopping"
	}
	return out
}

// awaitBegin waits, within a limit, for the first event of a rotation or its end. A rotation that
// finds the cluster's lock held by another one ends before the limit.
func (r *rotation) awaitBegin(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		part := r.log.eventsAfter(0, 1)
		if len(part.Events) > 0 || part.Missing || part.Ended {
			return
		}
		waitUntil(ctx, part.Changed, 10*time.Second) // ctx may end earlier
	}
}

// liftDeadlines lets a request wait for as long as its client does. The function that is returned
// bounds the time for sending the answer.
func (c *apiCall) liftDeadlines() (restore func()) {
	// A writer without deadlines, as in a test, has none.
	control := http.NewResponseController(c.w)
	_ = control.SetReadDeadline(time.Time{})
	_ = control.SetWriteDeadline(time.Time{})
	release := keepConnection(c.r.Context())
	return func() {
		release()
		_ = control.SetWriteDeadline(time.Now().Add(responseTimeout))
	}
}
