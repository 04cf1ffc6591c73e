package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

const contentEvents = "text/event-stream"

// Limits of the streams of events. A browser beyond them asks again every few seconds.
const (
	maxStreams       = 64
	streamsOfSession = 8   // of a dashboard of several users. All sessions share maxStreams
	streamBatch      = 100 // events in one write
)

// streamEvents sends the events of a rotation as they happen: those after the id in the header
// Last-Event-ID, or in the address. The last event is "end"; "again" says that events in between
// are not kept anymore, and that the page has to be read again.
func (s *Server) streamEvents(w http.ResponseWriter, r *http.Request) {
	if rotation, found := s.findRotation(w, r); found {
		s.streamRotation(w, r, rotation)
	}
}

func (s *Server) streamRotation(w http.ResponseWriter, r *http.Request, rotation *rotation) {
	after := r.Header.Get("Last-Event-ID")
	if after == "" {
		after = r.URL.Query().Get("after")
	}
	id, err := strconv.Atoi(after)
	if after != "" && (err != nil || id < 0) {
		s.writeMessage(w, r, http.StatusBadRequest, message{Title: "Unknown event", Text: "The number of the last event is not valid."})
		return
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
	s.sendEvents(w, r, rotation.log, id)
}

func (s *Server) refuseStream(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Retry-After", "5")
	s.writeMessage(w, r, http.StatusServiceUnavailable, message{Title: "Too many open pages", Text: "Too many pages are followed as they change. Reload the page to see its state."})
}

// enterStreams takes a place among the open streams until leave is called. It does not wait for one.
func (s *Server) enterStreams() (leave func(), free bool) {
	select {
	case s.ownStreams <- struct{}{}:
	default:
		return nil, false
	}
	select {
	case s.streams <- struct{}{}:
		return func() { <-s.streams; <-s.ownStreams }, true
	default:
		<-s.ownStreams
		return nil, false
	}
}

// sendEvents sends events until the log or the request ends, or the reader is too slow.
func (s *Server) sendEvents(w http.ResponseWriter, r *http.Request, log *progressLog, id int) {
	beat := time.NewTicker(15 * time.Second)
	defer beat.Stop()
	for {
		part := log.eventsAfter(id, streamBatch)
		text := streamText(part)
		if len(text) > 0 || id == 0 {
			if !s.sendChunk(w, text) {
				return
			}
		}
		if len(part.Events) > 0 {
			id = part.Events[len(part.Events)-1].ID
		}
		switch {
		case part.Ended || part.Missing:
			return
		case len(part.Events) == streamBatch:
			continue
		}
		select {
		case <-part.Changed:
			// More events are collected, so that many are one write.
			waitUntil(r.Context(), nil, 50*time.Millisecond)
		case <-beat.C:
			if !s.sendChunk(w, []byte(": in progress\n\n")) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// streamText is a part of a log in the form of server-sent events.
func streamText(part logPart) []byte {
	var out bytes.Buffer
	for _, e := range part.Events {
		out.Write(e.frame)
	}
	switch {
	case part.Missing:
		out.WriteString("event: again\ndata: {}\n\n")
	case part.Ended:
		out.WriteString("event: end\ndata: {}\n\n")
	}
	return out.Bytes()
}

// frameOf is an event in that form. It is made once for all readers.
func frameOf(e progressEvent) []byte {
	data, err := json.Marshal(e)
	if err != nil {
		return nil // texts and numbers can be encoded
	}
	return bytes.Map(printableRune, fmt.Appendf(nil, "id: %d\nevent: line\ndata: %s\n\n", e.ID, data))
}

// sendChunk reports whether the reader took it in time.
func (s *Server) sendChunk(w http.ResponseWriter, text []byte) bool {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(s.streamTimeout))
	if _, err := w.Write(text); err != nil {
		return false
	}
	return control.Flush() == nil
}
