package dashboard

import (
	"context"
	"errors"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// Limits of the newest events of a watcher.
const (
	newestEvents = 100
	// eventBytes bounds the events that are kept, readBytes those of one answer of the watcher.
	eventBytes = 2 << 20
	readBytes  = 16 << 20
)

// watcherEvents are the newest events of the watcher of a cluster.
type watcherEvents struct {
	Items []watcherevents.Event // oldest first
	Read  time.Time
	// Since is how far back they were read; empty: all that are kept.
	Since string
	bytes int
}

// addEvent adds an event, and drops the oldest beyond the limits.
func (l *watcherEvents) addEvent(e watcherevents.Event) {
	l.Items = append(l.Items, e)
	l.bytes += len(e.Raw)
	for len(l.Items) > newestEvents || l.bytes > eventBytes && len(l.Items) > 1 {
		l.bytes -= len(l.Items[0].Raw)
		l.Items = l.Items[1:]
	}
}

// indexOf is the place of the event with an id; -1: it is not among these.
func (l *watcherEvents) indexOf(id string) int {
	for i := range l.Items {
		if l.Items[i].ID == id {
			return i
		}
	}
	return -1
}

// newestEvent is the last event; nil: there is none.
func (l *watcherEvents) newestEvent() *watcherevents.Event {
	if len(l.Items) == 0 {
		return nil
	}
	return &l.Items[len(l.Items)-1]
}

func earlierOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// errTooManyEvents ends a reading.
var errTooManyEvents = errors.New("too many events")

// readWatcherEvents reads the newest events. The watcher sends the oldest first, and may keep very
// many: further back is read only while there are few.
func (s *Server) readWatcherEvents(ctx context.Context, name string) (watcherEvents, error) {
	cluster, err := s.options.Clusters.Open(name)
	if err != nil {
		return watcherEvents{}, err
	}
	var out watcherEvents
	for i, back := range []time.Duration{time.Hour, 24 * time.Hour, 0} {
		read, err := s.readEventsOf(ctx, cluster, back)
		switch {
		case err == nil:
			out = read
		case i > 0 && ctx.Err() != nil, errors.Is(err, errTooManyEvents) && i > 0:
			return out, nil
		case errors.Is(err, errTooManyEvents):
			return watcherEvents{}, hint.AddTo(errors.New("read events: too many within an hour"), "kubectl rotate-certs events --since 1m")
		default:
			return watcherEvents{}, err
		}
		if len(out.Items) == newestEvents {
			return out, nil
		}
	}
	return out, nil
}

// readEventsOf reads the newest of the events since some time ago; 0: of all that are kept.
func (s *Server) readEventsOf(ctx context.Context, cluster Cluster, back time.Duration) (watcherEvents, error) {
	out := watcherEvents{Read: s.options.Now()}
	var since time.Time
	if back > 0 {
		since = out.Read.Add(-back)
		out.Since = printers.ToTheSecond(since)
	}
	read := 0
	err := cluster.WatcherEvents(ctx, since, false, func(e watcherevents.Event) error {
		if read += len(e.Raw); read > readBytes {
			return errTooManyEvents
		}
		out.addEvent(e)
		return nil
	})
	return out, err
}

// awaitWatcherEvents reads the newest events unless they are fresh, and waits within a limit.
func (s *Server) awaitWatcherEvents(ctx context.Context, name string, most time.Duration) outcome[watcherEvents] {
	last := s.events.latestResult(name)
	if last.Running || !s.isFresh(last.Ended) {
		read := func(ctx context.Context) (watcherEvents, error) { return s.readWatcherEvents(ctx, name) }
		waitUntil(ctx, s.events.startCall(s.background, name, read), most)
		last = s.events.latestResult(name)
	}
	return last
}

// eventsView is the section of a cluster's page with the events of its watcher.
type eventsView struct {
	taskView
	Known  bool // they were read
	Since  string
	Lines  []eventLine // newest first
	Stream string      // path that sends those that follow; empty: none
}

// eventLine is an event as a page shows it.
type eventLine struct {
	ID   string `json:"id"`
	Time string `json:"time"`
	Node string `json:"node"`
	Text string `json:"text"`
}

func newEventLine(e watcherevents.Event) eventLine {
	return eventLine{ID: e.ID, Time: printers.ToTheSecond(e.Time), Node: printers.CleanText(e.WhichNodes()), Text: printers.CleanText(e.DescribeEvent())}
}

// viewEvents shows the newest events where there may be a watcher; nil: there is none.
func (s *Server) viewEvents(ctx context.Context, c Context, state *State) *eventsView {
	if state == nil || state.Watcher == nil && state.WatcherUnknown == "" {
		return nil
	}
	last := s.awaitWatcherEvents(ctx, c.Name, 2*time.Second)
	view := &eventsView{taskView: viewTask(last)}
	if last.Value == nil {
		return view
	}
	view.Known = true
	view.Since = last.Value.Since
	for i := len(last.Value.Items) - 1; i >= 0; i-- {
		view.Lines = append(view.Lines, newEventLine(last.Value.Items[i]))
	}
	if last.Err == nil {
		view.Stream = clusterPath(c.Name, "watcher-events") + afterQuery(view.Lines)
	}
	return view
}
