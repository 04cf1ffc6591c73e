package dashboard

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// freshFor is how long a state is shown without reading it again.
const freshFor = 15 * time.Second

// overview is the first page.
type overview struct {
	Rows       []overviewRow
	Filter     overviewFilter
	Conditions []condition
	Waiting    int // rows that are not loaded
	Others     othersView
}

// overviewFilter is the part of the address that says which rows are shown, and in which order.
type overviewFilter struct {
	Text      string
	Condition string
	Sort      string // name, state or end
	Since     int64  // results must not be older, in seconds; a page asks for its rows with one time
}

func readOverviewFilter(query url.Values, now time.Time) overviewFilter {
	f := overviewFilter{Text: query.Get("q"), Condition: query.Get("state"), Sort: query.Get("sort")}
	if f.Sort != "name" && f.Sort != "end" {
		f.Sort = "state"
	}
	since, err := strconv.ParseInt(query.Get("since"), 10, 64)
	if err != nil {
		since = now.Add(-freshFor).Unix()
	}
	f.Since = since
	return f
}

// needsCall reports whether a result is older than the page.
func (f overviewFilter) needsCall(last outcome[clusterSummary]) bool {
	return last.Running || last.Ended.Unix() < f.Since
}

func (f overviewFilter) queryValues() url.Values {
	return url.Values{"q": {f.Text}, "state": {f.Condition}, "sort": {f.Sort}}
}

// overviewRow is one context.
type overviewRow struct {
	Context   Context
	Path      string
	Loaded    bool
	Condition condition // empty: not loaded yet
	Summary   clusterSummary
	List      *listSummary // of the reports, or of the last scan
	AsOf      time.Time
	Scanned   bool // List is that of a scan
	Since     time.Time
	Error     string
	Running   []ownRotation
	Fetch     string // address of the row, if it has to be loaded
	Load      string // address of the page with this row loaded, without a script
	Order     string // sorts as text
	Hidden    bool
	Now       time.Time
}

func (s *Server) showOverview(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	filter := readOverviewFilter(query, s.options.Now())
	contexts := s.options.Clusters.Contexts()
	if load := query.Get("load"); load != "" {
		s.loadRows(r.Context(), contexts, load)
	}
	view := overview{Filter: filter, Conditions: conditions, Others: s.othersOf(r, filter)}
	for i, c := range contexts {
		row := s.rowOf(c, i, filter)
		if row.Fetch != "" && !row.Loaded {
			view.Waiting++
		}
		view.Rows = append(view.Rows, row)
	}
	slices.SortStableFunc(view.Rows, func(a, b overviewRow) int { return cmp.Compare(a.Order, b.Order) })
	s.writePage(w, r, http.StatusOK, "overview.html", "Clusters", view)
}

// showRow is one row of the first page, for its script.
func (s *Server) showRow(w http.ResponseWriter, r *http.Request) {
	name := r.URL.Query().Get("context")
	contexts := s.options.Clusters.Contexts()
	i := slices.IndexFunc(contexts, func(c Context) bool { return c.Name == name })
	if i < 0 {
		s.writeMessage(w, r, http.StatusNotFound, message{Title: "Unknown context", Text: "There is no context " + name + ".", Home: true})
		return
	}
	filter := readOverviewFilter(r.URL.Query(), s.options.Now())
	if filter.needsCall(s.summaries.latestResult(name)) {
		// A slower cluster continues to load in the background, and the page asks again.
		waitUntil(r.Context(), s.startSummary(contexts[i]), 1500*time.Millisecond)
	}
	s.writePage(w, r, http.StatusOK, "row.html", "", s.rowOf(contexts[i], i, filter))
}

// loadRows loads one row or all of them, and waits within a limit.
func (s *Server) loadRows(ctx context.Context, contexts []Context, load string) {
	ctx, cancel := context.WithTimeout(ctx, summaryTimeout+time.Second)
	defer cancel()
	var started []<-chan struct{}
	for _, c := range contexts {
		if (load == "all" || load == "context:"+c.Name) && !s.isFresh(s.summaries.latestResult(c.Name).Ended) {
			started = append(started, s.startSummary(c))
		}
	}
	for _, done := range started {
		waitUntil(ctx, done, summaryTimeout+time.Second)
	}
}

func (s *Server) isFresh(at time.Time) bool { return s.options.Now().Sub(at) < freshFor }

// startSummary reads the state of a cluster and keeps its summary.
func (s *Server) startSummary(c Context) <-chan struct{} {
	return s.summaries.startCall(s.background, c.Name, func(ctx context.Context) (clusterSummary, error) {
		state, err := s.readState(ctx, c.Name)
		if err != nil {
			return clusterSummary{}, err
		}
		return summarizeState(state, s.options.Now()), nil
	})
}

// readState opens a context and reads the state of its cluster.
func (s *Server) readState(ctx context.Context, context string) (State, error) {
	cluster, err := s.options.Clusters.Open(context)
	if err != nil {
		return State{}, err
	}
	return cluster.State(ctx)
}

// rowOf is a context with the last known result.
func (s *Server) rowOf(c Context, index int, filter overviewFilter) overviewRow {
	now := s.options.Now()
	last := s.summaries.latestResult(c.Name)
	query := filter.queryValues()
	row := overviewRow{Context: c, Path: clusterPath(c.Name), Now: now, AsOf: last.At, Loaded: last.Value != nil || last.Err != nil, Running: s.work.runningOn(clusterKey(c))}
	if filter.needsCall(last) {
		query.Set("context", c.Name)
		query.Set("since", strconv.FormatInt(filter.Since, 10))
		row.Fetch = "/row?" + query.Encode()
		query.Del("context")
		query.Del("since")
		query.Set("load", "context:"+c.Name)
		row.Load = "/?" + query.Encode()
	}
	if last.Value != nil {
		row.Summary = *last.Value
		row.List = last.Value.List
		row.Condition = unknown
	}
	if scan := s.scans.latestResult(c.Name); scan.Value != nil && scan.At.After(row.Summary.Observed) {
		list := summarizeList(*scan.Value, now)
		row.List = &list
		row.Scanned = true
		row.Summary.Observed = scan.At
	}
	if row.List != nil {
		row.Condition = row.List.Worst
	}
	if last.Err != nil {
		row.Condition = unreachable
		row.Since = last.FailedSince
		row.Error, _ = errorParts(last.Err)
	}
	row.Order = row.orderBy(filter.Sort, index)
	row.Hidden = !filter.matchRow(row)
	return row
}

// orderBy is a text by which rows sort. Rows that are not loaded are last.
func (r overviewRow) orderBy(sort string, index int) string {
	first := int64(0)
	switch sort {
	case "state":
		first = int64(rankOf(r.Condition))
	case "end":
		first = int64(1) << 40
		if r.List != nil && !r.List.Earliest.IsZero() {
			first = max(0, r.List.Earliest.Unix())
		}
	}
	return fmt.Sprintf("%014d-%05d", first, index)
}

// matchRow reports whether a row is shown. One that is not loaded may still have the condition.
func (f overviewFilter) matchRow(r overviewRow) bool {
	text := strings.ToLower(r.Context.Name + " " + r.Context.Cluster + " " + r.Context.Server + " " + r.Context.User)
	if !strings.Contains(text, strings.ToLower(strings.TrimSpace(f.Text))) {
		return false
	}
	return f.Condition == "" || r.Condition == "" || string(r.Condition) == f.Condition
}
