package dashboard

import (
	"context"
	"net/http"
	"time"
)

const readOnlyText = "The dashboard was started with --read-only. It offers nothing that changes the cluster or creates a pod, scans among them."

// refuseReadOnly answers a request that would change something, where nothing may be.
func (s *Server) refuseReadOnly(w http.ResponseWriter, r *http.Request) bool {
	if s.options.ReadOnly {
		s.writeMessage(w, r, http.StatusForbidden, message{Title: "Read only", Text: readOnlyText, Home: true})
	}
	return s.options.ReadOnly
}

// refuseWithout answers a request for which the operator has no permission. The API server checks
// every request again: this only says so earlier and more clearly.
func (s *Server) refuseWithout(w http.ResponseWriter, r *http.Request, c Context, right Right) bool {
	if s.refuseReadOnly(w, r) {
		return true
	}
	why := s.deniedReason(r.Context(), c, right)
	if why == "" {
		return false
	}
	s.writeMessage(w, r, http.StatusForbidden, message{Title: "Not permitted", Text: why, Back: clusterPath(c.Name)})
	return true
}

// deniedReason is the missing permission. The cluster is read first where it is not known, and
// once more before a refusal: the permission may have been granted since.
func (s *Server) deniedReason(ctx context.Context, c Context, right Right) string {
	why, known := s.knownDenial(c, right)
	if !known || why != "" {
		waitUntil(ctx, s.startSummary(c), 5*time.Second)
		why, _ = s.knownDenial(c, right) // a cluster that does not answer will say so itself
	}
	return why
}

// knownDenial is the missing permission as it was read last.
func (s *Server) knownDenial(c Context, right Right) (why string, known bool) {
	state := s.states.latestResult(c.Name)
	summary := s.summaries.latestResult(c.Name)
	switch {
	case summary.Value != nil && (state.Value == nil || !summary.At.Before(state.At)):
		return summary.Value.Denied[right], true
	case state.Value != nil:
		return state.Value.Denied[right], true
	}
	return "", false
}

// offer says whether a page offers something, and why not.
type offer struct {
	Possible bool
	Why      string
}

// offerOf is the offer of a right, with the state of the cluster; nil: it is not known.
func (s *Server) offerOf(state *State, right Right) offer {
	switch {
	case s.options.ReadOnly:
		return offer{Why: "The dashboard was started with --read-only."}
	case state == nil:
		return offer{Why: "The cluster has not answered yet, so that your permissions are not known."}
	case state.Denied[right] != "":
		return offer{Why: state.Denied[right]}
	}
	return offer{Possible: true}
}

// readForm parses the body of a request, and answers one that is too large.
func (s *Server) readForm(w http.ResponseWriter, r *http.Request) bool {
	err := r.ParseForm()
	if err == nil {
		return true
	}
	status := http.StatusBadRequest
	if _, large := asTooLarge(err); large {
		status = http.StatusRequestEntityTooLarge
	}
	s.writeMessage(w, r, status, message{Title: "The form cannot be read", Text: err.Error(), Home: true})
	return false
}
