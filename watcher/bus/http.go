package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// EventsHandler serves
//
//	GET /events?since=2h|RFC3339&follow=true   the events, one a line, oldest first
//
// Without since it returns all that are kept. With follow, an empty line now and then keeps the
// connection open.
func (b *Bus) EventsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /events", b.serveEvents)
	return mux
}

func (b *Bus) serveEvents(w http.ResponseWriter, r *http.Request) {
	since, err := parseSince(r.URL.Query().Get("since"), b.config.Now())
	if err != nil {
		http.Error(w, hint.TextOf(err), http.StatusBadRequest)
		return
	}
	follow, err := parseFollow(r.URL.Query().Get("follow"))
	if err != nil {
		http.Error(w, hint.TextOf(err), http.StatusBadRequest)
		return
	}
	if b.followers.Add(1) > int64(b.config.tuning.followers) {
		b.followers.Add(-1)
		w.Header().Set("Retry-After", "10")
		full := hint.AddTo(fmt.Errorf("already %d readers of events", b.config.tuning.followers), "stop one, or try again later")
		http.Error(w, hint.TextOf(full), http.StatusTooManyRequests)
		return
	}
	defer b.followers.Add(-1)
	if err := b.Ready(); err != nil {
		http.Error(w, "events cannot be read now: "+hint.TextOf(err), http.StatusServiceUnavailable)
		return
	}
	out := newLines(w)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	if follow {
		var beating sync.WaitGroup
		defer beating.Wait()
		defer cancel()
		out.flushHeader()
		beating.Go(func() {
			for wait.SleepFor(ctx, b.config.tuning.keepAlive) == nil {
				if out.writeLine(nil) != nil {
					cancel()
				}
			}
		})
	}
	err = b.ReplayEvents(ctx, since, follow, func(e event.Event) error {
		raw, err := e.MarshalJSON()
		if err != nil {
			return err
		}
		return out.writeLine(raw)
	})
	if err != nil && r.Context().Err() == nil && b.ctx.Err() == nil {
		b.config.Log.Warn("events interrupted", "error", err)
		panic(http.ErrAbortHandler) // the client must notice that the response is incomplete
	}
}

// lines writes JSON values, one on each line.
type lines struct {
	mu sync.Mutex
	w  io.Writer
	c  *http.ResponseController
}

func newLines(w http.ResponseWriter) *lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	return &lines{w: w, c: http.NewResponseController(w)}
}

// writeLine writes and flushes. A reader that reads nothing for half a minute is disconnected.
func (l *lines) writeLine(raw []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.c.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if _, err := l.w.Write(append(raw, '\n')); err != nil {
		return err
	}
	return l.c.Flush()
}

func (l *lines) flushHeader() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.c.Flush() // the next line fails too
}

// parseSince reads a duration before now, or a time.
func parseSince(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return now.Add(-d), nil
	}
	// An unescaped "+" of a time zone arrives as a space.
	if t, err := time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+")); err == nil {
		return t, nil
	}
	return time.Time{}, hint.AddTo(fmt.Errorf("since=%q is neither a duration nor a time", text), "since=2h, since=90m or since=2030-05-17T09:30:00Z")
}

func parseFollow(text string) (bool, error) {
	if text == "" {
		return false, nil
	}
	follow, err := strconv.ParseBool(text)
	if err != nil {
		return false, hint.AddTo(fmt.Errorf("follow=%q is neither true nor false", text), "follow=true")
	}
	return follow, nil
}
