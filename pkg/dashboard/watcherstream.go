package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
)

// eventFrame is an event of a watcher in the form of a server-sent event.
type eventFrame func(watcherevents.Event) []byte

// afterQuery asks for the events that follow the newest of a page.
func afterQuery(newestFirst []eventLine) string {
	if len(newestFirst) == 0 {
		return ""
	}
	return "?after=" + url.QueryEscape(newestFirst[0].ID)
}

// lineFrame has an event as pages show it.
func lineFrame(e watcherevents.Event) []byte {
	data, err := json.Marshal(newEventLine(e))
	if err != nil {
		return nil // texts can be encoded
	}
	return framed(e.ID, "line", data)
}

// cloudEventFrame has an event as the watcher publishes it.
func cloudEventFrame(e watcherevents.Event) []byte {
	var data bytes.Buffer
	if json.Compact(&data, e.Raw) != nil {
		return nil // it was read as JSON
	}
	return framed(e.ID, "event", data.Bytes())
}

// framed is data of one line. Characters that end a line, or that change how a terminal shows the
// rest, are replaced.
func framed(id, name string, data []byte) []byte {
	return fmt.Appendf(nil, "id: %s\nevent: %s\ndata: %s\n\n", bytes.Map(printableInLine, []byte(id)), name, bytes.Map(printableInLine, data))
}

func printableInLine(r rune) rune {
	if r == '\n' || r == '\t' {
		return ' '
	}
	return printableRune(r)
}

// streamWatcherEvents sends the events of the watcher to a page.
func (s *Server) streamWatcherEvents(w http.ResponseWriter, r *http.Request) {
	if named, found := s.findContext(w, r); found {
		s.streamEventsOf(w, r, named, lineFrame)
	}
}

// streamAPIWatcherEvents sends the events of the watcher to a program.
func (s *Server) streamAPIWatcherEvents(call *apiCall) {
	named, err := s.contextByID(call.r.PathValue("id"))
	if err != nil {
		s.writeAPIError(call.w, call.r, err)
		return
	}
	s.streamEventsOf(call.w, call.r, named, cloudEventFrame)
}

// streamEventsOf sends the newest events, or those after the id in the header Last-Event-ID or in the
// address, and then others as they come. "again" says that this event is not among the newest anymore.
// "problem" says why the events cannot be read; a browser requests the stream again after a pause.
func (s *Server) streamEventsOf(w http.ResponseWriter, r *http.Request, c Context, frame eventFrame) {
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = r.URL.Query().Get("after")
	}
	if r.Method == http.MethodHead {
		return
	}
	leave, free := s.enterStreams()
	if !free {
		s.refuseStream(w, r)
		return
	}
	defer leave()
	defer keepConnection(r.Context())()
	w.Header().Set("Content-Type", contentEvents)
	// The deadline for reading the request would end the stream, too.
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	// The permission is reviewed when a stream begins. It ends after a while, and begins again.
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Minute)
	defer cancel()
	defer context.AfterFunc(s.background, cancel)()
	if !s.sendChunk(w, []byte("retry: 5000\n\n")) {
		return
	}
	last := s.awaitWatcherEvents(ctx, c.Name, responseTimeout)
	if last.Value != nil && after != "" && last.Value.indexOf(after) < 0 {
		s.events.expireResult(c.Name) // it may be newer
		last = s.awaitWatcherEvents(ctx, c.Name, responseTimeout)
	}
	switch {
	case ctx.Err() != nil:
	case last.Err != nil || last.Value == nil:
		s.sendProblem(w, last.Err)
	default:
		s.followEvents(ctx, w, c, *last.Value, after, frame)
	}
}

// sendProblem ends a stream with the reason.
func (s *Server) sendProblem(w http.ResponseWriter, err error) {
	text, next := errorParts(err)
	if text == "" {
		text = "the connection to the watcher has ended"
	}
	data, _ := json.Marshal(map[string]string{"text": text, "hint": next}) // texts can be encoded
	s.sendChunk(w, fmt.Appendf(nil, "event: problem\ndata: %s\n\n", bytes.Map(printableInLine, data)))
}

// followEvents sends the events of a list that follow the one with an id, and then those that the
// watcher sends.
func (s *Server) followEvents(ctx context.Context, w http.ResponseWriter, c Context, list watcherEvents, after string, frame eventFrame) {
	at := list.indexOf(after)
	if after != "" && at < 0 {
		s.sendChunk(w, []byte("event: again\ndata: {}\n\n"))
		return
	}
	var text bytes.Buffer
	seen := watcherevents.NewSeen()
	for i, e := range list.Items {
		seen.AddID(e.ID)
		if i > at {
			text.Write(frame(e))
		}
	}
	text.WriteString("event: ready\ndata: {}\n\n") // a page hides an earlier problem
	if !s.sendChunk(w, text.Bytes()) {
		return
	}
	cluster, err := s.options.Clusters.Open(c.Name)
	if err != nil {
		s.sendProblem(w, err)
		return
	}
	newest := list.newestEvent()
	var since time.Time
	if newest != nil {
		// Events of before are read again: one is stored a moment after its time, which is that of
		// another clock.
		since = earlierOf(newest.Time, list.Read).Add(-2 * time.Minute)
	}
	follows := newest == nil
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan watcherevents.Event)
	ended := make(chan error, 1)
	go func() {
		_, err := trackCall(s.open, func(ctx context.Context) (struct{}, error) {
			return struct{}{}, cluster.WatcherEvents(ctx, since, true, func(e watcherevents.Event) error {
				// Those before the newest of the list are in it, or older than what it has.
				known := newest != nil && e.ID == newest.ID
				follows = follows || known || e.Time.After(newest.Time)
				if known || !follows || !seen.AddID(e.ID) {
					return nil
				}
				select {
				case events <- e:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		})(ctx)
		ended <- err
	}()
	s.sendWhileOpen(ctx, w, events, ended, frame)
}

// sendWhileOpen sends events until the reader or the watcher ends the connection.
func (s *Server) sendWhileOpen(ctx context.Context, w http.ResponseWriter, events <-chan watcherevents.Event, ended <-chan error, frame eventFrame) {
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	for {
		select {
		case e := <-events:
			if !s.sendChunk(w, frame(e)) {
				return
			}
		case <-beat.C:
			if !s.sendChunk(w, []byte(": open\n\n")) {
				return
			}
		case err := <-ended:
			if ctx.Err() == nil {
				s.sendProblem(w, err)
			}
			return
		case <-ctx.Done():
			return
		}
	}
}
