// Package watcherevents reads the events of the watcher, as its address /events sends them, and says
// them in words.
package watcherevents

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// LongestEvent bounds a line: an event that names thousands of certificates.
const LongestEvent = 8 << 20

// ReadEvents opens an answer of the watcher and passes each of its events to pass, whose error it
// returns. With follow, the end of the connection is no error. The answer has ended when ctx has.
func ReadEvents(ctx context.Context, follow bool, open func(context.Context) (io.ReadCloser, error), pass func(Event) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	body, err := open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	// The watcher sends an empty line now and then. A connection without any counts as broken.
	const silence = 2 * time.Minute
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, LongestEvent)
	lines.Split(wholeLines)
	for lines.Scan() {
		quiet.Reset(silence)
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue // it keeps the connection open
		}
		e, err := ParseEvent(bytes.Clone(lines.Bytes()))
		if err != nil {
			return err
		}
		if err := pass(e); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !follow {
		return fmt.Errorf("read events: the list is incomplete: %w", err)
	}
	return nil
}

// ParseEvent reads an event of one line, which it keeps.
func ParseEvent(raw []byte) (Event, error) {
	e := Event{Raw: raw}
	if err := json.Unmarshal(raw, &e); err != nil || e.ID == "" {
		return Event{}, &NotAnEventError{said: printers.CleanText(string(raw[:min(len(raw), 120)]))}
	}
	return e, nil
}

// NotAnEventError is an answer that is not from a watcher.
type NotAnEventError struct{ said string }

func (e *NotAnEventError) Error() string {
	return fmt.Sprintf("read events: not an event: %q", e.said)
}

// wholeLines skips an incomplete last line: the connection broke there.
func wholeLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return 0, nil, io.ErrUnexpectedEOF
	}
	return 0, nil, nil
}

// Seen has the ids of the newest events, so that none is passed twice after a reconnect.
type Seen struct {
	ids   map[string]bool
	order []string
}

// remembered is how many ids are kept; far more than arrive within the time that is read again.
const remembered = 50_000

// NewSeen has no ids.
func NewSeen() *Seen { return &Seen{ids: map[string]bool{}} }

// AddID returns whether the id is new.
func (s *Seen) AddID(id string) bool {
	if s.ids[id] {
		return false
	}
	s.ids[id] = true
	if s.order = append(s.order, id); len(s.order) > remembered {
		delete(s.ids, s.order[0])
		s.order = s.order[1:]
	}
	return true
}
