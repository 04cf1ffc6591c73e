package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/watcherevents"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
	"github.com/rotate-certs/rotate-certs/plugin/manifests"
)

// believedAfter is how many refusals in a row end following.
const believedAfter = 60

// resourceEvents names the events in an error of a watcher outside the cluster.
var resourceEvents = schema.GroupResource{Resource: "events"}

// Run reads and prints events.
func (o *eventsOptions) Run(ctx context.Context) error {
	open, err := o.chooseOpener(ctx)
	if err != nil {
		return err
	}
	p := &eventPrinter{out: o.Out, format: o.format, seen: watcherevents.NewSeen()}
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
		case errors.As(err, new(*watcherevents.NotAnEventError)):
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
		if namespace, err = api.namespaceOfEvents(ctx, o.connectionFlags); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, query url.Values) (io.ReadCloser, error) {
		return api.openEvents(ctx, namespace, query)
	}, nil
}

// namespaceOfEvents is the namespace of the watcher.
func (o *objects) namespaceOfEvents(ctx context.Context, flags *connectionFlags) (string, error) {
	found, err := o.findInstallation(ctx, "")
	switch {
	case apierrors.IsForbidden(err):
		return manifests.DefaultNamespace, nil // the right to read events does not include the right to list deployments
	case err != nil:
		return "", err
	case found == nil || found.watcher == nil:
		return "", hint.AddTo(errors.New("the watcher is not installed in this cluster"),
			"install it with %s install, or give the URL of a watcher outside the cluster: --url http://HOST:PORT", flags.commandLine())
	}
	return found.namespace, nil
}

// openEvents requests the events of the watcher in a namespace through the API server.
func (o *objects) openEvents(ctx context.Context, namespace string, query url.Values) (io.ReadCloser, error) {
	request := o.proxiedRequest(namespace, "events")
	for name := range query {
		request = request.Param(name, query.Get(name))
	}
	body, err := request.Stream(ctx)
	return body, explainProxy(err, namespace)
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
	opened := func(ctx context.Context) (io.ReadCloser, error) {
		body, err := open(ctx, eventsQuery(since, o.follow))
		p.began = p.began || err == nil
		return body, err
	}
	return watcherevents.ReadEvents(ctx, o.follow, opened, p.printEvent)
}

// eventsQuery asks for the events since a time; zero: all that are kept.
func eventsQuery(since time.Time, follow bool) url.Values {
	query := url.Values{}
	if !since.IsZero() {
		query.Set("since", since.UTC().Format(time.RFC3339Nano))
	}
	if follow {
		query.Set("follow", "true")
	}
	return query
}

// eventPrinter prints each event once.
type eventPrinter struct {
	out     io.Writer
	format  printers.Format
	seen    *watcherevents.Seen
	last    time.Time // of the newest event
	began   bool      // a connection was made
	news    bool      // since the last break
	printed int
}

// printError is an error of the output.
type printError struct{ err error }

func (e *printError) Error() string { return e.err.Error() }

func (p *eventPrinter) printEvent(e watcherevents.Event) error {
	if e.Time.After(p.last) {
		p.last = e.Time
	}
	if !p.seen.AddID(e.ID) {
		return nil
	}
	p.news = true
	p.printed++
	var err error
	switch p.format {
	case printers.JSON:
		_, err = fmt.Fprintf(p.out, "%s\n", e.Raw)
	case printers.Name:
		_, err = fmt.Fprintf(p.out, "%s\n", printers.CleanText(e.ID))
	default:
		_, err = fmt.Fprintln(p.out, printers.CleanText(e.InWords(p.format == printers.Wide)))
	}
	if err != nil {
		return &printError{err}
	}
	return nil
}
