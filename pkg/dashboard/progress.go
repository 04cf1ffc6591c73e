package dashboard

import (
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// keptEvents bounds the events that are kept of one rotation, so that memory does not grow with
// its length. The state of each node is kept besides.
const keptEvents = 20000

// progressEvent is one event of a rotation, numbered from 1.
type progressEvent struct {
	ID    int    `json:"id"`
	Time  string `json:"time"`
	Node  string `json:"node"`
	Phase string `json:"phase"`
	Text  string `json:"text"`
	Took  string `json:"took,omitempty"`
	Done  bool   `json:"done,omitempty"`

	frame []byte // as streams send it
}

// progressLog keeps the events of a rotation for everyone who reads them. Readers take events from
// it at their own speed: adding one never waits for a reader.
type progressLog struct {
	mu      sync.Mutex
	events  []progressEvent // the ids are consecutive
	last    int             // id of the newest event
	nodes   map[string]progressEvent
	ended   bool
	changed chan struct{} // closed and replaced at each change
}

func newProgressLog() *progressLog {
	return &progressLog{nodes: map[string]progressEvent{}, changed: make(chan struct{})}
}

// addEvent adds an event. One that repeats the last of its node is dropped.
func (l *progressLog) addEvent(p fleet.Progress, now time.Time) {
	e := progressEvent{Time: now.UTC().Format("15:04:05"), Node: printers.CleanText(p.Node), Phase: string(p.Phase), Text: printers.CleanText(p.Text), Done: p.Done}
	if p.Took > 0 {
		e.Took = printers.ElapsedTime(p.Took)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	before, known := l.nodes[e.Node]
	if l.ended || known && !e.Done && before.Phase == e.Phase && before.Text == e.Text {
		return
	}
	l.last++
	e.ID = l.last
	e.frame = frameOf(e)
	l.nodes[e.Node] = e
	if len(l.events) >= keptEvents {
		l.events = append([]progressEvent(nil), l.events[keptEvents/10:]...)
	}
	l.events = append(l.events, e)
	l.notifyReaders()
}

// endLog says that no more events follow.
func (l *progressLog) endLog() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		l.notifyReaders()
	}
}

func (l *progressLog) notifyReaders() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// logPart is the part of a log that follows an event.
type logPart struct {
	Events  []progressEvent
	Missing bool // events in between are not kept anymore
	Ended   bool // there are no more after these
	Changed <-chan struct{}
}

// eventsAfter returns at most a number of events that follow the one with an id.
func (l *progressLog) eventsAfter(id, most int) logPart {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := l.last - len(l.events) + 1
	part := logPart{Changed: l.changed}
	if id+1 < first {
		part.Missing = true
		return part
	}
	begin := min(max(id+1-first, 0), len(l.events))
	end := min(begin+most, len(l.events))
	part.Events = append(part.Events, l.events[begin:end]...)
	part.Ended = l.ended && end == len(l.events)
	return part
}

// logView is the state of a log for a page.
type logView struct {
	Lines   []progressEvent // those worth keeping
	Nodes   map[string]progressEvent
	Last    int
	Dropped int
}

func (l *progressLog) viewLog() logView {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := logView{Nodes: map[string]progressEvent{}, Last: l.last, Dropped: l.last - len(l.events)}
	for _, e := range l.events {
		if e.Done {
			out.Lines = append(out.Lines, e)
		}
	}
	for node, e := range l.nodes {
		out.Nodes[node] = e
	}
	return out
}
