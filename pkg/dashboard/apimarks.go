package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// apiMarks are the marks of a cluster.
type apiMarks struct {
	Items   []apiMark `json:"items"`
	NotRead []string  `json:"notRead,omitempty" doc:"what of the cluster could not be read, and why. Where CompromisedCertificates are among it, items are not complete"`
}

// apiMark is a CompromisedCertificate as pages show it.
type apiMark struct {
	Name    string    `json:"name" doc:"of the CompromisedCertificate"`
	Created time.Time `json:"created,omitzero"`
	apiMarkChoice
	State string `json:"state" doc:"replaced, or how far the watcher is"`
}

// apiMarkChoice says which certificates are compromised.
type apiMarkChoice struct {
	Service     certs.Service `json:"service" doc:"the service that uses the keys"`
	Nodes       []string      `json:"nodes,omitempty" doc:"absent: every node"`
	Fingerprint string        `json:"fingerprint,omitempty" doc:"SHA-256 in hex; absent: every certificate of the service"`
	Reason      string        `json:"reason" doc:"it appears in events and in the status"`
}

func (s *Server) listAPIMarks(call *apiCall) (apiMarks, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiMarks{}, err
	}
	return s.describeMarks(call.r.Context(), named)
}

// describeMarks reads the marks of a cluster.
func (s *Server) describeMarks(ctx context.Context, c Context) (apiMarks, error) {
	out := apiMarks{Items: []apiMark{}}
	last := s.awaitState(ctx, c)
	switch {
	case last.Err != nil:
		return out, fromCluster("read the marks", last.Err)
	case last.Value == nil:
		return out, &apiError{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Text: "the cluster has not answered yet", Next: "try again"}
	}
	out.NotRead = last.Value.NotRead
	for _, mark := range last.Value.Marks {
		out.Items = append(out.Items, apiMark{Name: mark.Name, Created: mark.CreationTimestamp.UTC(), State: markState(mark),
			apiMarkChoice: apiMarkChoice{Service: mark.Spec.Service, Nodes: mark.Spec.Nodes, Fingerprint: mark.Spec.Fingerprint, Reason: mark.Spec.Reason}})
	}
	return out, nil
}

// createAPIMark marks certificates as compromised.
func (s *Server) createAPIMark(call *apiCall, in apiMarkChoice) (apiMarks, error) {
	named, err := s.contextPermitted(call, RightMark)
	if err != nil {
		return apiMarks{}, err
	}
	mark, err := checkMark(Mark(in))
	// A field whose value is blank would mark everything: a script has an empty variable.
	switch {
	case err != nil:
		text, next := errorParts(err)
		return apiMarks{}, invalidField("", text, next)
	case in.Nodes != nil && len(mark.Nodes) == 0:
		return apiMarks{}, invalidField("nodes", "no node is chosen", "omit nodes for every node")
	case in.Fingerprint != "" && mark.Fingerprint == "":
		return apiMarks{}, invalidField("fingerprint", "the fingerprint is blank", "omit fingerprint for every certificate of the service")
	}
	err = s.changeMark(call.r.Context(), named, func(ctx context.Context, cluster Cluster) error { return cluster.MarkCompromised(ctx, mark) })
	if err != nil {
		return apiMarks{}, fromCluster("the certificates were not marked", err)
	}
	return s.describeChanged(call.r.Context(), named), nil
}

// deleteAPIMark deletes a mark.
func (s *Server) deleteAPIMark(call *apiCall, _ nothing) (apiMarks, error) {
	named, err := s.contextPermitted(call, RightDeleteMark)
	if err != nil {
		return apiMarks{}, err
	}
	name := call.r.PathValue("mark")
	last := s.awaitState(call.r.Context(), named)
	known := last.Value
	complete := known != nil && last.Err == nil && !last.Running // else it may have been created since
	if complete && !slices.ContainsFunc(known.Marks, func(m v1alpha1.CompromisedCertificate) bool { return m.Name == name }) {
		return apiMarks{}, notFound(fmt.Sprintf("there is no mark %q", name), "GET "+apiClusterPath(clusterID(named.Name), "marks")+" lists them")
	}
	err = s.changeMark(call.r.Context(), named, func(ctx context.Context, cluster Cluster) error { return cluster.DeleteMark(ctx, name) })
	if err != nil {
		return apiMarks{}, fromCluster("the mark was not deleted", err)
	}
	return s.describeChanged(call.r.Context(), named), nil
}

// describeChanged reads the marks after a change. That they cannot be read is no error: a client
// would repeat the change, and a second mark replaces the keys again.
func (s *Server) describeChanged(ctx context.Context, c Context) apiMarks {
	out, err := s.describeMarks(ctx, c)
	if err != nil {
		text, _ := errorParts(err)
		out.NotRead = append(out.NotRead, "the change was made, but not read again: "+text)
	}
	return out
}
