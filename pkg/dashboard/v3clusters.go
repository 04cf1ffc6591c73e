package dashboard

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Rancher's API as far as scripts that rotate certificates need it: the clusters with the expiry
// dates of their certificates, and the action rotateCertificates.

// v3Cluster is a cluster as Rancher's API has it.
type v3Cluster struct {
	ID                   string `json:"id" doc:"the name of the context where it can be part of a path, else a hash of it"`
	Type                 string `json:"type" doc:"cluster"`
	BaseType             string `json:"baseType" doc:"cluster"`
	Name                 string `json:"name" doc:"the name of the context"`
	State                string `json:"state" doc:"active, updating (a rotation is in progress), error (the last rotation of this dashboard has failed), unavailable, or pending (not read yet)"`
	Transitioning        string `json:"transitioning" doc:"no, yes or error"`
	TransitioningMessage string `json:"transitioningMessage" doc:"explains the state"`
	APIEndpoint          string `json:"apiEndpoint" doc:"address of the API server"`
	NodeCount            int    `json:"nodeCount"`
	// CertificatesExpiration is empty where neither reports nor a scan say anything.
	CertificatesExpiration map[string]v3Expiration `json:"certificatesExpiration" doc:"the earliest expiry by certificate: kube-etcd-NODE, kube-node (kubelets), kube-apiserver, kube-ca …; empty where the nodes were not scanned and no agent reports"`
	Links                  map[string]string       `json:"links"`
	Actions                map[string]string       `json:"actions" doc:"rotateCertificates, where you may rotate and no rotation is in progress"`
}

// v3Expiration is when the first certificate of a name expires.
type v3Expiration struct {
	Type           string `json:"type" doc:"certExpiration"`
	ExpirationDate string `json:"expirationDate" doc:"as 2027-11-30T03:00:00Z"`
}

// v3Collection is a list as Rancher's API has it.
type v3Collection[T any] struct {
	Type         string            `json:"type" doc:"collection"`
	ResourceType string            `json:"resourceType"`
	Links        map[string]string `json:"links"`
	Actions      map[string]string `json:"actions"`
	Data         []T               `json:"data"`
}

// v3Action is the name of the action.
const v3Action = "rotateCertificates"

func v3ClusterPath(id string) string { return v3Root + "/clusters/" + url.PathEscape(id) }

// v3Filters are the fields by which clusters can be selected.
var v3Filters = map[string]func(v3Cluster) string{
	"id":    func(c v3Cluster) string { return c.ID },
	"name":  func(c v3Cluster) string { return c.Name },
	"state": func(c v3Cluster) string { return c.State },
}

// v3Ignored are parameters of Rancher's API that select nothing: every answer is complete.
var v3Ignored = []string{"limit", "marker", "sort", "order", "reverse"}

func (s *Server) listV3Clusters(call *apiCall) (v3Collection[v3Cluster], error) {
	out := v3Collection[v3Cluster]{Type: "collection", ResourceType: "cluster", Actions: map[string]string{}, Data: []v3Cluster{},
		Links: map[string]string{"self": call.addressOf(v3Root + "/clusters")}}
	query := call.r.URL.Query()
	for name := range query {
		// A filter that is not applied would have a script rotate another cluster than it wants.
		if v3Filters[name] == nil && !slices.Contains(v3Ignored, name) {
			return out, invalidField(name, fmt.Sprintf("clusters cannot be filtered by %q", name), "id, name and state are possible")
		}
	}
	contexts := s.options.Clusters.Contexts()
	s.awaitSummaries(call.r.Context(), contexts)
	for _, c := range contexts {
		cluster := s.v3ClusterOf(call, c)
		if matchFilters(cluster, query) {
			out.Data = append(out.Data, cluster)
		}
	}
	return out, nil
}

func matchFilters(c v3Cluster, query url.Values) bool {
	for name, value := range v3Filters {
		if wanted, given := query[name]; given && !slices.Contains(wanted, value(c)) {
			return false
		}
	}
	return true
}

func (s *Server) showV3Cluster(call *apiCall) (v3Cluster, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return v3Cluster{}, err
	}
	s.awaitSummaries(call.r.Context(), []Context{named})
	return s.v3ClusterOf(call, named), nil
}

// awaitSummaries reads clusters unless they are fresh, side by side and within a limit. A call that
// began before its cluster was changed is followed by another.
func (s *Server) awaitSummaries(ctx context.Context, contexts []Context) {
	ctx, cancel := context.WithTimeout(ctx, summaryTimeout+time.Second)
	defer cancel()
	for range 2 {
		s.loadRows(ctx, contexts, "all")
	}
}

// v3ClusterOf is a context with what is known of it.
func (s *Server) v3ClusterOf(call *apiCall, c Context) v3Cluster {
	id := clusterID(c.Name)
	self := call.addressOf(v3ClusterPath(id))
	out := v3Cluster{ID: id, Type: "cluster", BaseType: "cluster", Name: c.Name, APIEndpoint: c.Server,
		CertificatesExpiration: map[string]v3Expiration{}, Links: map[string]string{"self": self}, Actions: map[string]string{}}
	last := s.summaries.latestResult(c.Name)
	if last.Value != nil {
		out.NodeCount = last.Value.Nodes
	}
	out.setState(last, s.work.newestOf(clusterKey(c)))
	for name, at := range s.knownExpirations(c) {
		out.CertificatesExpiration[name] = v3Expiration{Type: "certExpiration", ExpirationDate: at.UTC().Format(time.RFC3339)}
	}
	why, known := s.knownDenial(c, RightRotate)
	if known && why == "" && !s.options.ReadOnly && out.State != v3Updating && last.Err == nil {
		out.Actions[v3Action] = self + "?action=" + v3Action
	}
	return out
}

// The states of a cluster, by Rancher's words.
const (
	v3Active      = "active"
	v3Updating    = "updating"
	v3Failed      = "error"
	v3Unavailable = "unavailable"
	v3Pending     = "pending"
)

// setState sets the state by the newest rotation of this process, and the cluster's last answer.
// A script that waits for "active" must not take a failed rotation for a success.
func (c *v3Cluster) setState(last outcome[clusterSummary], newest *rotation) {
	ended := outcomeView{Ended: true, State: outcomeSucceeded}
	if newest != nil {
		ended = newest.viewOutcome()
	}
	switch {
	case !ended.Ended:
		c.explainState(v3Updating, "yes", strings.TrimSpace("rotation of "+choiceWords(newest.Choice)+" "+ended.Word+" "+ended.Text))
	case last.Err != nil:
		text, _ := errorParts(last.Err)
		c.explainState(v3Unavailable, "error", text)
	case last.Value == nil:
		c.explainState(v3Pending, "yes", "the cluster has not been read yet")
	case len(last.Value.Running) > 0:
		c.explainState(v3Updating, "yes", "rotation in progress: "+strings.Join(last.Value.Running, "; "))
	case ended.hasFailed():
		c.explainState(v3Failed, "error", "rotation of "+choiceWords(newest.Choice)+" "+ended.Word+": "+ended.Text)
	default:
		c.explainState(v3Active, "no", "")
	}
}

func (c *v3Cluster) explainState(state, transitioning, message string) {
	c.State = state
	c.Transitioning = transitioning
	c.TransitioningMessage = message
}
