package dashboard

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// rotationView is the page of a rotation: its progress, and at the end its report.
type rotationView struct {
	Context   Context
	Path      string // of the cluster
	Self      string
	Words     string
	Outcome   outcomeView
	Began     time.Time
	Note      string
	Nodes     []nodeProgress
	Log       logView
	Stream    string // address of the events; empty: there are no more
	ByWatcher bool
	Stop      offer
	Command   string
	Report    *v1alpha1.RotationReport
	Rows      []reportRow
	Valid     string // until when the old certificates remain valid
}

// nodeProgress is one node of a rotation in progress.
type nodeProgress struct {
	Node      string
	Phase     string
	Text      string
	Condition condition
}

// reportRow is a certificate in a report.
type reportRow struct {
	Node, Service, Name string
	Old, New            time.Time
	Result              string
	Condition           condition
	Restarted           string
	Verified            []string
}

// notes are texts that a redirect chooses by a word.
var notes = map[string]string{
	string(planBusy):    "A rotation of this cluster is in progress already: this is its page. Nothing else was started.",
	string(planStarted): "This plan has been started already: this is its rotation. It was not started again.",
}

func (s *Server) showRotation(w http.ResponseWriter, r *http.Request) {
	rotation, found := s.findRotation(w, r)
	if !found {
		return
	}
	view := rotationView{Context: rotation.Context, Path: clusterPath(rotation.Context.Name), Words: choiceWords(rotation.Choice),
		Outcome: rotation.viewOutcome(), Began: rotation.Began, Note: notes[r.URL.Query().Get("note")], Log: rotation.log.viewLog(),
		ByWatcher: rotation.Plan.ByWatcher, Command: rotation.Plan.Command}
	view.Self = clusterPath(rotation.Context.Name, "rotations", rotation.ID)
	view.Nodes = nodesInProgress(rotation.Plan.Document.Steps, view.Log, view.Outcome.Ended)
	if !view.Outcome.Ended {
		view.Stream = view.Self + "/events?after=" + strconv.Itoa(view.Log.Last)
		view.Stop = offer{Possible: !s.options.ReadOnly && !rotation.isInterrupted()}
		if s.options.ReadOnly {
			view.Stop.Why = readOnlyText
		}
	}
	rotation.mu.Lock()
	view.Report = rotation.report
	rotation.mu.Unlock()
	if view.Report != nil {
		view.Rows = reportRows(view.Report)
		view.Valid = printers.StillValid(view.Report, s.options.Now())
	}
	s.writePage(w, r, http.StatusOK, "rotation.html", "Rotation of "+rotation.Context.Name, view)
}

// nodesInProgress are the nodes of a plan, in its order, and others that have reported something.
func nodesInProgress(steps []v1alpha1.PlanStep, log logView, ended bool) []nodeProgress {
	var out []nodeProgress
	seen := map[string]bool{"": true}
	add := func(node string) {
		if seen[node] {
			return
		}
		seen[node] = true
		event, known := log.Nodes[node]
		row := nodeProgress{Node: node, Phase: event.Phase, Text: event.Text, Condition: conditionOfPhase(event.Phase)}
		switch {
		case !known && ended:
			row.Phase = "not begun"
		case !known:
			row.Phase = "later"
		}
		out = append(out, row)
	}
	for _, step := range steps {
		add(step.Node)
	}
	var others []string
	for node := range log.Nodes {
		others = append(others, node)
	}
	slices.Sort(others)
	for _, node := range others {
		add(node)
	}
	return out
}

// conditionOfPhase is the shape beside a phase. The page's script has the same table.
func conditionOfPhase(phase string) condition {
	switch fleet.Phase(phase) {
	case fleet.PhaseVerified:
		return healthy
	case fleet.PhaseUndoing, fleet.PhaseUndone, fleet.PhaseForced:
		return attention
	case fleet.PhaseFailed:
		return expired
	case "":
		return unknown
	}
	return "running"
}

func reportRows(report *v1alpha1.RotationReport) []reportRow {
	var rows []reportRow
	for _, item := range report.Items {
		if item.Result == v1alpha1.NoCertificate {
			continue
		}
		row := reportRow{Node: item.Node, Service: string(item.Service), Result: resultWords(item), Condition: conditionOfResult(item.Result), Restarted: "no"}
		if item.Restarted {
			row.Restarted = "yes"
		}
		if item.UnavailableSeconds > 0 {
			row.Restarted += ", " + printers.ElapsedTime(time.Duration(item.UnavailableSeconds*float64(time.Second))) + " unavailable"
		}
		if len(item.Certificates) == 0 {
			row.Name = printers.Nothing
			row.Verified = item.Evidence
			rows = append(rows, row)
		}
		for _, c := range item.Certificates {
			row.Name = c.Name
			row.Old = c.Old.NotAfter
			row.New = time.Time{}
			row.Verified = nil
			if c.New != nil {
				row.New = c.New.NotAfter
				row.Verified = item.Evidence
				if len(c.Evidence) > 0 {
					row.Verified = c.Evidence
				}
			}
			rows = append(rows, row)
		}
	}
	return rows
}

func resultWords(item v1alpha1.RotationItem) string {
	word := map[v1alpha1.Result]string{v1alpha1.Succeeded: "renewed", v1alpha1.RolledBack: "rolled back", v1alpha1.Failed: "failed", v1alpha1.Skipped: "skipped"}[item.Result]
	if word == "" {
		word = string(item.Result)
	}
	if item.Reason != "" {
		word += ": " + strings.TrimSpace(item.Reason)
	}
	return word
}

func conditionOfResult(result v1alpha1.Result) condition {
	switch result {
	case v1alpha1.Succeeded:
		return healthy
	case v1alpha1.RolledBack:
		return attention
	case v1alpha1.Failed:
		return expired
	}
	return unknown
}
