package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// longList bounds lists of findings on a page.
const longList = 200

// clusterView is the page of a cluster.
type clusterView struct {
	Context   Context
	Path      string
	Now       time.Time
	State     *State // nil: it was never read
	StateAt   time.Time
	Loading   bool
	Since     time.Time // unreachable since
	Error     string
	Hint      string
	Condition condition
	List      *v1alpha1.CertificateList // nil: there is none
	ListAt    time.Time
	Scanned   bool // List is that of a scan
	Outdated  bool // a rotation has ended since
	Summary   listSummary
	Table     certificateTable
	Timeline  timeline
	Findings  []v1alpha1.Finding
	NotSeen   []v1alpha1.NotInspected
	Longer    string // how many more there are
	Running   []string
	Own       []ownRotation
	Scan      taskView
	Journals  taskView
	Past      []pastRow
	PastAt    time.Time
	PastSeen  []v1alpha1.NotInspected
	Again     int
	Events    *eventsView // nil: there is no watcher
	Choice    choiceForm
	ScanOffer offer
	MarkOffer offer
	Delete    offer
}

// taskView is a scan, or the reading of journals, in the background.
type taskView struct {
	Running bool
	Began   time.Time
	Error   string
	Hint    string
	Ended   time.Time
}

func viewTask[T any](last outcome[T]) taskView {
	view := taskView{Running: last.Running, Began: last.Began, Ended: last.Ended}
	view.Error, view.Hint = errorParts(last.Err)
	return view
}

// pastRow is a rotation in the journals.
type pastRow struct {
	v1alpha1.PastRotation
	Path  string
	Scope string
	Word  string
	Took  string
}

func (s *Server) showCluster(w http.ResponseWriter, r *http.Request) {
	named, found := s.findContext(w, r)
	if !found {
		return
	}
	view := s.viewCluster(r.Context(), named)
	if view.List != nil {
		view.Table = newCertificateTable(view.List.Items, readCertificateFilter(r.URL.Query()), view.Path, view.Now)
		view.Timeline = newTimeline(*view.List, view.Now)
	}
	view.Choice = s.formOf(view, Choice{})
	view.Events = s.viewEvents(r.Context(), named, view.State)
	if view.Events != nil && view.Events.Running {
		view.Again = 1000
	}
	s.writePage(w, r, http.StatusOK, "cluster.html", named.Name, view)
}

// viewCluster reads the state of a cluster, within a limit, and adds the other results that are known.
func (s *Server) viewCluster(ctx context.Context, c Context) clusterView {
	last := s.awaitState(ctx, c)
	view := clusterView{Context: c, Path: clusterPath(c.Name), Now: s.options.Now(), State: last.Value, StateAt: last.At, Loading: last.Running,
		Since: last.FailedSince, Own: s.work.rotationsOf(clusterKey(c)), Condition: unknown}
	view.Error, view.Hint = errorParts(last.Err)
	view.ScanOffer = s.offerOf(view.State, RightScan)
	view.MarkOffer = s.offerOf(view.State, RightMark)
	view.Delete = s.offerOf(view.State, RightDeleteMark)
	if view.State != nil {
		view.List = view.State.Certificates
		view.ListAt = view.State.Observed
		view.Running = runningWords(*view.State, view.Now)
	}
	view.addScan(s.scans.latestResult(c.Name))
	view.addJournals(s.journals.latestResult(c.Name))
	if view.List != nil {
		view.addList()
	}
	if last.Err != nil {
		view.Condition = unreachable
	}
	if view.Loading || view.Scan.Running || view.Journals.Running {
		view.Again = 1000
	}
	return view
}

// awaitState reads the state of a cluster unless it is fresh, and waits within a limit. A call that
// began before the cluster was changed is followed by another.
func (s *Server) awaitState(ctx context.Context, c Context) outcome[State] {
	last := s.states.latestResult(c.Name)
	for tries := 0; tries < 2 && (last.Running || !s.isFresh(last.Ended)); tries++ {
		// The page then shows the last known state, and asks again.
		waitUntil(ctx, s.states.startCall(s.background, c.Name, func(ctx context.Context) (State, error) { return s.readState(ctx, c.Name) }), 2*time.Second)
		if last = s.states.latestResult(c.Name); last.Running {
			break // it is slow
		}
	}
	return last
}

// addScan shows the last scan where it is newer than the reports.
func (v *clusterView) addScan(scan outcome[v1alpha1.CertificateList]) {
	v.Scan = viewTask(scan)
	if scan.Value == nil || v.List != nil && v.ListAt.After(scan.At) {
		return
	}
	v.List = scan.Value
	v.ListAt = scan.At
	v.Scanned = true
}

func (v *clusterView) addList() {
	v.Summary = summarizeList(*v.List, v.Now)
	v.Condition = v.Summary.Worst
	for _, own := range v.Own {
		v.Outdated = v.Outdated || own.Ended.After(v.ListAt)
	}
	v.Findings = v.List.Findings
	v.NotSeen = v.List.NotInspected
	more := max(0, len(v.Findings)-longList) + max(0, len(v.NotSeen)-longList)
	v.Findings = v.Findings[:min(longList, len(v.Findings))]
	v.NotSeen = v.NotSeen[:min(longList, len(v.NotSeen))]
	if more > 0 {
		v.Longer = fmt.Sprintf("%d more are not listed here: kubectl rotate-certs check -o wide lists all.", more)
	}
}

func (v *clusterView) addJournals(journals outcome[v1alpha1.RotationList]) {
	v.Journals = viewTask(journals)
	if journals.Value == nil {
		return
	}
	v.PastAt = journals.At
	v.PastSeen = journals.Value.NotInspected
	for _, past := range journals.Value.Items[:min(longList, len(journals.Value.Items))] {
		v.Past = append(v.Past, pastRow{PastRotation: past, Path: clusterPath(v.Context.Name, "history", past.ID),
			Scope: printers.ScopeWords(past), Word: printers.StandingWord(past.Result), Took: printers.RotationTook(past)})
	}
}
