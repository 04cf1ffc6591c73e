package plugin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

const (
	// longestEvent bounds a line: an event that names thousands of certificates.
	longestEvent = 8 << 20
	// believedAfter is how many refusals in a row end following.
	believedAfter = 60
)

// Run reads and prints events.
func (o *eventsOptions) Run(ctx context.Context) error {
	open, err := o.chooseOpener(ctx)
	if err != nil {
		return err
	}
	p := &eventPrinter{out: o.Out, format: o.format, seen: newSeen()}
	since := o.from
	lost := false
	refusals := 0
	for {
		err := o.readConnection(ctx, open, since, p)
		var printing *printError
		switch {
		case ctx.Err() != nil:
			return nil // Ctrl-C ends following
		case errors.As(err, &printing):
			return printing.err
		case !o.follow || (err != nil && !p.began):
			if err == nil && p.printed == 0 {
				printers.PrintNotes(o.ErrOut, "No events.")
			}
			return err
		case errors.As(err, new(*notAnEventError)):
			return err
		case err != nil && !kube.IsRestarting(err) && !isUnavailable(err) && statusCode(err) != 0:
			// An API server that has just started forbids every request until it has read the
			// roles. The refusal may also be permanent.
			if refusals++; refusals >= believedAfter {
				return err
			}
		default:
			refusals = 0
		}
		if !lost || p.news {
			printers.PrintNotes(o.ErrOut, "Connection lost, reconnecting …")
		}
		lost = true
		p.news = false
		if !p.last.IsZero() {
			// Events of before are read again: one is stored a moment after its time.
			since = p.last.Add(-2 * time.Minute)
		}
		if !o.pauseOnce(ctx) {
			return nil
		}
	}
}

// opener requests the events.
type opener func(ctx context.Context, query url.Values) (io.ReadCloser, error)

func (o *eventsOptions) chooseOpener(ctx context.Context) (opener, error) {
	if o.direct != nil {
		return o.openDirect, nil
	}
	api, err := openObjects(o.conn)
	if err != nil {
		return nil, err
	}
	namespace := o.where
	if namespace == "" {
		found, err := api.findInstallation(ctx, "")
		switch {
		case err != nil && !apierrors.IsForbidden(err):
			return nil, err
		case err == nil && (found == nil || found.watcher == nil):
			return nil, hint.AddTo(errors.New("the watcher is not installed in this cluster"),
				"install it with %s install, or give the URL of a watcher outside the cluster: --url http://HOST:PORT", o.connectionFlags.commandLine())
		case err == nil:
			namespace = found.namespace
		default:
			namespace = o.targetNamespace() // the right to read events does not include the right to list deployments
		}
	}
	return func(ctx context.Context, query url.Values) (io.ReadCloser, error) {
		request := api.proxiedRequest(namespace, "events")
		for name := range query {
			request = request.Param(name, query.Get(name))
		}
		body, err := request.Stream(ctx)
		return body, explainProxy(err, namespace)
	}, nil
}

// explainProxy explains an error of the API server for the watcher's events.
func explainProxy(err error, namespace string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsForbidden(err):
		return hint.AddTo(fmt.Errorf("read events: %w", err), "an administrator can bind the Role rotate-certs:view in namespace %s to you", namespace)
	case apierrors.IsNotFound(err):
		return hint.AddTo(fmt.Errorf("the watcher is not installed in namespace %q: %w", namespace, err), "--namespace selects another")
	case isUnavailable(err):
		return hint.AddTo(fmt.Errorf("the watcher does not answer: %w", err), "kubectl -n %s get pods", namespace)
	}
	return fmt.Errorf("read events: %w", err)
}

func (o *eventsOptions) openDirect(ctx context.Context, query url.Values) (io.ReadCloser, error) {
	u := o.direct.JoinPath("events")
	u.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, fmt.Errorf("request events: %w", err)
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		var request *url.Error
		if errors.As(err, &request) {
			err = request.Err
		}
		// Not wrapped: it is not an error of the API server.
		return nil, hint.AddTo(fmt.Errorf("the watcher at %s does not answer: %v", o.direct.Redacted(), err), "check that it runs with --http-address") //nolint:errorlint // see above
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 1024)) // an incomplete text is fine
		return nil, fmt.Errorf("the watcher at %s refuses: %w", o.direct.Redacted(),
			apierrors.NewGenericServerResponse(answer.StatusCode, "get", resourceEvents, "", strings.TrimSpace(string(said)), 0, true))
	}
	return answer.Body, nil
}

// readConnection reads one connection to its end. If the events are followed, the end of the
// connection is no error.
func (o *eventsOptions) readConnection(ctx context.Context, open opener, since time.Time, p *eventPrinter) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if o.follow {
		query.Set("follow", "true")
	}
	body, err := open(ctx, query)
	if err != nil {
		return err
	}
	defer body.Close()
	p.began = true
	const silence = 2 * time.Minute // without any line: a followed connection counts as broken
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, longestEvent)
	lines.Split(wholeLines)
	for lines.Scan() {
		quiet.Reset(silence)
		if err := p.printLine(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && !o.follow {
		return fmt.Errorf("read events: the list is incomplete: %w", err)
	}
	return nil
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

// eventPrinter prints each event once.
type eventPrinter struct {
	out     io.Writer
	format  printers.Format
	seen    *seen
	last    time.Time // of the newest event
	began   bool      // a connection was made
	news    bool      // since the last break
	printed int
}

// printError is an error of the output.
type printError struct{ err error }

func (e *printError) Error() string { return e.err.Error() }

// notAnEventError is an answer that is not from a watcher.
type notAnEventError struct{ said string }

func (e *notAnEventError) Error() string {
	return fmt.Sprintf("read events: not an event: %q", e.said)
}

func (p *eventPrinter) printLine(raw []byte) error {
	if len(strings.TrimSpace(string(raw))) == 0 {
		return nil // keeps the connection open
	}
	var e cloudEvent
	if err := json.Unmarshal(raw, &e); err != nil || e.ID == "" {
		return &notAnEventError{said: printers.CleanText(string(raw[:min(len(raw), 120)]))}
	}
	if e.Time.After(p.last) {
		p.last = e.Time
	}
	if !p.seen.addID(e.ID) {
		return nil
	}
	p.news = true
	p.printed++
	var err error
	switch p.format {
	case printers.JSON:
		_, err = fmt.Fprintf(p.out, "%s\n", raw)
	case printers.Name:
		_, err = fmt.Fprintf(p.out, "%s\n", printers.CleanText(e.ID))
	default:
		_, err = fmt.Fprintln(p.out, printers.CleanText(e.inWords(p.format == printers.Wide)))
	}
	if err != nil {
		return &printError{err}
	}
	return nil
}

// seen has the ids of the newest events, so that none is printed twice after a reconnect.
type seen struct {
	ids   map[string]bool
	order []string
}

// remembered is how many ids are kept; far more than arrive within the time that is read again.
const remembered = 50_000

func newSeen() *seen { return &seen{ids: map[string]bool{}} }

// addID returns whether the id is new.
func (s *seen) addID(id string) bool {
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
