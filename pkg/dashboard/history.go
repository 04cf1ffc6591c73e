package dashboard

import (
	"context"
	"net/http"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// startScan answers the button "Scan the nodes".
func (s *Server) startScan(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || s.refuseWithout(w, r, named, RightScan) {
		return
	}
	s.beginScan(named)
	s.redirectTo(w, r, clusterPath(named.Name))
}

// beginScan scans the nodes of a cluster in the background, unless a scan is running.
func (s *Server) beginScan(c Context) {
	s.scans.startCall(s.background, c.Name, func(ctx context.Context) (v1alpha1.CertificateList, error) {
		cluster, err := s.options.Clusters.Open(c.Name)
		if err != nil {
			return v1alpha1.CertificateList{}, err
		}
		return cluster.Scan(ctx)
	})
}

// startJournals answers the button "Read the journals".
func (s *Server) startJournals(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || s.refuseWithout(w, r, named, RightScan) {
		return
	}
	s.beginJournals(named)
	s.redirectTo(w, r, clusterPath(named.Name)+"#history")
}

// beginJournals reads the journals of a cluster in the background, unless they are being read.
func (s *Server) beginJournals(c Context) {
	s.journals.startCall(s.background, c.Name, func(ctx context.Context) (v1alpha1.RotationList, error) {
		cluster, err := s.options.Clusters.Open(c.Name)
		if err != nil {
			return v1alpha1.RotationList{}, err
		}
		return cluster.Rotations(ctx)
	})
}

// historyView is the page of one rotation in the journals.
type historyView struct {
	Context Context
	Path    string
	Self    string
	ID      string
	Result  outcome[v1alpha1.RotationHistory]
	Error   string
	Hint    string
	Again   int
	Scope   string
	Word    string
	Nodes   []string
	Next    []string
	Offer   offer
	AsOf    time.Time
}

// recordsKey separates a context and an id by a byte that no context of a file in YAML has.
func recordsKey(context, id string) string { return context + "\x00" + id }

// startRecords answers the button that reads the records of one rotation.
func (s *Server) startRecords(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found || s.refuseWithout(w, r, named, RightScan) {
		return
	}
	id := r.PathValue("id")
	s.beginRecords(named, id)
	s.redirectTo(w, r, clusterPath(named.Name, "history", id))
}

// beginRecords reads the records of a rotation in the background, unless they are being read.
func (s *Server) beginRecords(c Context, id string) {
	s.records.startCall(s.background, recordsKey(c.Name, id), func(ctx context.Context) (v1alpha1.RotationHistory, error) {
		cluster, err := s.options.Clusters.Open(c.Name)
		if err != nil {
			return v1alpha1.RotationHistory{}, err
		}
		return cluster.Records(ctx, id)
	})
}

func (s *Server) showHistory(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found {
		return
	}
	id := r.PathValue("id")
	last := s.records.latestResult(recordsKey(named.Name, id))
	view := historyView{Context: named, Path: clusterPath(named.Name), Self: clusterPath(named.Name, "history", id), ID: id, Result: last, AsOf: last.At,
		Offer: s.offerOf(s.states.latestResult(named.Name).Value, RightScan)}
	view.Error, view.Hint = errorParts(last.Err)
	if last.Running {
		view.Again = 1000
	}
	if last.Value != nil {
		view.Scope = printers.ScopeWords(last.Value.PastRotation)
		view.Word = printers.StandingWord(last.Value.Result)
		view.Nodes = printers.NodesInWords(last.Value.PastRotation)
		view.Next = printers.NextSteps(last.Value.PastRotation, "kubectl rotate-certs", s.options.Now())
	}
	s.writePage(w, r, http.StatusOK, "history.html", "Rotation "+id+" of "+named.Name, view)
}
