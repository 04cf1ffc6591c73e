package dashboard

import (
	"net/http"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
)

// Our own API: the same as the pages show and do. Where a command prints a document, it is that
// document.

// apiList is a list of documents.
type apiList[T any] struct {
	Items []T `json:"items"`
}

// apiCluster is a context of the kubeconfig, with what is known of its cluster.
type apiCluster struct {
	ID              string           `json:"id" doc:"the name of the context where it can be part of a path, else a hash of it"`
	Context         string           `json:"context" doc:"the name of the context"`
	Server          string           `json:"server" doc:"address of the API server"`
	User            string           `json:"user" doc:"the user of the context"`
	Current         bool             `json:"current" doc:"it is the current context"`
	State           string           `json:"state" doc:"unreachable, expired, attention, expiring, unknown or healthy: that of the worst certificate or CA"`
	Error           string           `json:"error,omitempty" doc:"why the cluster cannot be reached"`
	Hint            string           `json:"hint,omitempty" doc:"what to do about the error"`
	UnreachableFrom *time.Time       `json:"unreachableFrom,omitempty" doc:"since when"`
	ReadAt          *time.Time       `json:"readAt,omitempty" doc:"when the API server answered last; absent: it has not answered yet"`
	Version         string           `json:"version,omitempty" doc:"of the API server"`
	Nodes           int              `json:"nodes" doc:"number of nodes"`
	Certificates    *apiCertificates `json:"certificates,omitempty" doc:"absent: the nodes were not scanned, and no agent reports"`
	Watcher         string           `json:"watcher,omitempty" doc:"whether the watcher is installed"`
	Problem         string           `json:"problem,omitempty" doc:"of the watcher"`
	InProgress      []string         `json:"inProgress,omitempty" doc:"rotations in progress, by the lock and the watcher"`
	Rotation        string           `json:"rotation,omitempty" doc:"address of the rotation of this dashboard that is in progress"`
	Due             []string         `json:"due,omitempty" doc:"certificates that are due, and what they wait for"`
	NotRead         []string         `json:"notRead,omitempty" doc:"what could not be read, and why"`
	Denied          map[Right]string `json:"denied,omitempty" doc:"what you may not do, and which permission is missing: scan, rotate, mark, delete-mark"`
}

// apiCertificates is a summary of a cluster's certificates.
type apiCertificates struct {
	Total     int       `json:"total"`
	Attention int       `json:"attention" doc:"certificates that are not OK"`
	Earliest  time.Time `json:"earliest,omitzero" doc:"the earliest expiry"`
	Whose     string    `json:"whose,omitempty" doc:"the certificate or CA that expires first"`
	Source    string    `json:"source" doc:"scan or reports"`
	Observed  time.Time `json:"observed,omitzero" doc:"as of when"`
}

// apiTask is a scan.
type apiTask struct {
	apiReading
	Certificates string `json:"certificates" doc:"address of the certificates"`
}

// timeOrNil is a time for a document; nil: it is not known.
func timeOrNil(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func (s *Server) listClusters(call *apiCall) (apiList[apiCluster], error) {
	contexts := s.options.Clusters.Contexts()
	s.awaitSummaries(call.r.Context(), contexts)
	out := apiList[apiCluster]{Items: []apiCluster{}}
	for _, c := range contexts {
		out.Items = append(out.Items, s.describeCluster(call, c))
	}
	return out, nil
}

func (s *Server) readCluster(call *apiCall) (apiCluster, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiCluster{}, err
	}
	s.awaitSummaries(call.r.Context(), []Context{named})
	return s.describeCluster(call, named), nil
}

// describeCluster is a context as its row on the first page has it.
func (s *Server) describeCluster(call *apiCall, c Context) apiCluster {
	row := s.rowOf(c, 0, overviewFilter{})
	out := apiCluster{ID: clusterID(c.Name), Context: c.Name, Server: c.Server, User: c.User, Current: c.Current, State: string(unknown),
		UnreachableFrom: timeOrNil(row.Since), ReadAt: timeOrNil(row.AsOf), Version: row.Summary.Version, Nodes: row.Summary.Nodes, Watcher: row.Summary.Watcher,
		Problem: row.Summary.Problem, InProgress: row.Summary.Running, Due: row.Summary.Due, NotRead: row.Summary.NotRead, Denied: row.Summary.Denied}
	out.Error, out.Hint = errorParts(s.summaries.latestResult(c.Name).Err)
	if row.Condition != "" {
		out.State = string(row.Condition)
	}
	if running := s.work.runningRotation(clusterKey(c)); running != nil {
		out.Rotation = call.addressOf(rotationAddress(running))
	}
	if row.List != nil {
		out.Certificates = &apiCertificates{Total: row.List.Total, Attention: row.List.Attention, Earliest: row.List.Earliest.UTC(), Whose: row.List.Whose,
			Source: "reports", Observed: row.Summary.Observed.UTC()}
		if row.Scanned {
			out.Certificates.Source = "scan"
		}
	}
	return out
}

// readCertificates is the list that check prints: of the agents' reports, or of the last scan.
func (s *Server) readCertificates(call *apiCall) (v1alpha1.CertificateList, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return v1alpha1.CertificateList{}, err
	}
	view := s.viewCluster(call.r.Context(), named)
	switch {
	case view.List == nil && view.Error != "":
		return v1alpha1.CertificateList{}, &apiError{Status: http.StatusBadGateway, Code: codeServerError, Text: view.Error, Next: view.Hint}
	case view.List == nil:
		return v1alpha1.CertificateList{}, notFound("no certificates are known: the nodes were not scanned, and no agent reports",
			"POST "+apiClusterPath(clusterID(named.Name), "scan")+", and wait until it has ended")
	}
	call.w.Header().Set("Last-Modified", view.ListAt.UTC().Format(http.TimeFormat))
	return *view.List, nil
}

// startAPIScan starts a scan unless one is running.
func (s *Server) startAPIScan(call *apiCall, _ nothing) (apiTask, error) {
	named, err := s.contextPermitted(call, RightScan)
	if err != nil {
		return apiTask{}, err
	}
	s.beginScan(named)
	return s.describeScan(call, named), nil
}

func (s *Server) readScan(call *apiCall) (apiTask, error) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		return apiTask{}, err
	}
	return s.describeScan(call, named), nil
}

func (s *Server) describeScan(call *apiCall, c Context) apiTask {
	return apiTask{apiReading: describeReading(s.scans.latestResult(c.Name)), Certificates: call.addressOf(apiClusterPath(clusterID(c.Name), "certificates"))}
}
