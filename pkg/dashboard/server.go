package dashboard

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// Limits of a connection. A response has its own deadline, see deadlineOf, since a stream of
// events lives longer than any of these.
const (
	responseTimeout = 30 * time.Second
	maxHeader       = 32 << 10
	maxBody         = 64 << 10
)

// Deadlines of calls to a cluster.
const (
	summaryTimeout = 12 * time.Second
	scanTimeout    = 30 * time.Minute // of thousands of nodes
)

// Server serves the pages of the dashboard to one user: to one browser, on the loopback interface, or
// to a session of [Hosted].
type Server struct {
	options Options
	session *localSession
	work    *work

	// Results of slow calls. The numbers bound how many are kept: summaries are small, and a
	// state, scan or list of records may be that of 10,000 certificates.
	summaries *calls[clusterSummary]
	states    *calls[State]
	scans     *calls[v1alpha1.CertificateList]
	journals  *calls[v1alpha1.RotationList]
	records   *calls[v1alpha1.RotationHistory]
	events    *calls[watcherEvents]
	open      *openCalls

	inside  *template.Template // for requests that name the prefix of the session
	outside *template.Template // for others, which must not learn it

	background    context.Context // of calls that continue when their request has ended
	endBackground context.CancelFunc
	streams       chan struct{} // holds one element for each open stream, also of other sessions
	ownStreams    chan struct{} // the same, of this session only
	streamTimeout time.Duration // of one write
}

// NewServer returns a server that has not started to listen.
func NewServer(options Options) (*Server, error) {
	if options.Clusters == nil || len(options.Clusters.Contexts()) == 0 {
		return nil, hint.AddTo(errors.New("start the dashboard: the kubeconfig has no context"), "kubectl config get-contexts")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Report == nil {
		options.Report = func(string) {}
	}
	own := newLocalSession()
	return newServer(options, own, parseTemplates(own.prefix), parseTemplates("")), nil
}

// newServer returns a server with complete options.
func newServer(options Options, own *localSession, inside, outside *template.Template) *Server {
	open := newOpenCalls()
	s := &Server{
		options:       options,
		session:       own,
		work:          newWork(options.Now),
		summaries:     newCalls[clusterSummary](summaryTimeout, 32, 2000, open, options.Now),
		states:        newCalls[State](30*time.Second, 16, 8, open, options.Now),
		scans:         newCalls[v1alpha1.CertificateList](scanTimeout, 4, 8, open, options.Now),
		journals:      newCalls[v1alpha1.RotationList](scanTimeout, 4, 20, open, options.Now),
		records:       newCalls[v1alpha1.RotationHistory](scanTimeout, 4, 8, open, options.Now),
		events:        newCalls[watcherEvents](10*time.Second, 8, 8, open, options.Now),
		open:          open,
		inside:        inside,
		outside:       outside,
		streams:       make(chan struct{}, maxStreams),
		ownStreams:    make(chan struct{}, maxStreams),
		streamTimeout: 10 * time.Second,
	}
	s.background, s.endBackground = context.WithCancel(context.Background())
	return s
}

// OpenAddress is the address that opens the dashboard in a browser. It holds a token that can be
// used once.
func (s *Server) OpenAddress(listener net.Addr) string {
	return "http://" + listener.String() + "/open?token=" + s.session.token
}

// Running are the contexts whose rotation is in progress in this process.
func (s *Server) Running() []string { return s.work.runningContexts() }

// Serve answers requests until ctx ends. A rotation in progress is then interrupted as by Ctrl-C:
// Serve returns when it has ended, and its pages can be read until then.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	port, err := loopbackPort(listener.Addr())
	if err != nil {
		_ = listener.Close()
		return err
	}
	server := NewHTTPServer(s.newHandler(port), s.options.Report)
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
		err = fmt.Errorf("serve the dashboard at %q: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	s.endBackground()
	if s.work.interruptAll() > 0 {
		s.work.active.Wait()
		// Open pages read the end of an interrupted rotation meanwhile.
		waitUntil(context.Background(), nil, time.Second)
	}
	closeServer(server)
	s.work.active.Wait()
	s.awaitCalls()
	return err
}

// NewHTTPServer limits the number of connections, and the cost of each. Its log lines are passed to report.
func NewHTTPServer(handler http.Handler, report func(line string)) *http.Server {
	open := newOpenConnections(maxConnections)
	return &http.Server{
		Handler:           handler,
		ConnContext:       open.addToContext,
		ConnState:         open.noteState,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          log.New(lineWriter(report), "", 0),
	}
}

// awaitCalls waits, within a limit, until interrupted calls have removed their pods.
func (s *Server) awaitCalls() {
	if s.open.stopCalls() > 0 {
		s.options.Report("waiting for requests to clusters to end, and for scans to remove their pods; press Ctrl-C again to stop at once")
	}
	waitUntil(context.Background(), s.open.ended, 20*time.Second)
}

// lineWriter passes what the HTTP server logs to the terminal.
type lineWriter func(line string)

func (w lineWriter) Write(text []byte) (int, error) {
	w(printers.CleanLines(strings.TrimSpace(string(text))))
	return len(text), nil
}

// closeServer lets answers in progress end, within a limit.
func closeServer(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// loopbackPort is the port of a listener that other machines cannot reach.
func loopbackPort(address net.Addr) (string, error) {
	tcp, is := address.(*net.TCPAddr)
	if !is || !tcp.IP.IsLoopback() {
		return "", hint.AddTo(fmt.Errorf("serve the dashboard at %q: other machines could reach this address", address), "listen at 127.0.0.1")
	}
	return strconv.Itoa(tcp.Port), nil
}

// newPages serves the pages without the API.
func (s *Server) newPages() *http.ServeMux {
	pages := http.NewServeMux()
	for pattern, answer := range map[string]http.HandlerFunc{
		"GET /static/style.css":                         serveStyle,
		"GET /static/script.js":                         serveScript,
		"GET /static/events.js":                         serveEventsScript,
		"GET /{$}":                                      s.showOverview,
		"GET /row":                                      s.showRow,
		"GET /clusters/{context}":                       s.showCluster,
		"GET /clusters/{context}/rotate":                s.showChoice,
		"GET /clusters/{context}/plans/{id}":            s.showPlan,
		"GET /clusters/{context}/rotations/{id}":        s.showRotation,
		"GET /clusters/{context}/rotations/{id}/events": s.streamEvents,
		"GET /clusters/{context}/history/{id}":          s.showHistory,
		"GET /clusters/{context}/mark":                  s.showMark,
		"GET /clusters/{context}/watcher-events":        s.streamWatcherEvents,
		"GET /ask":                                      s.showAsk,
		"POST /ask":                                     s.sendAsk,
		"POST /clusters/{context}/scan":                 s.startScan,
		"POST /clusters/{context}/journals":             s.startJournals,
		"POST /clusters/{context}/history/{id}":         s.startRecords,
		"POST /clusters/{context}/plans":                s.createPlan,
		"POST /clusters/{context}/plans/{id}":           s.startRotation,
		"POST /clusters/{context}/plans/{id}/cancel":    s.cancelPlan,
		"POST /clusters/{context}/rotations/{id}/stop":  s.stopRotation,
		"POST /clusters/{context}/marks":                s.createMark,
		"POST /clusters/{context}/marks/{name}/delete":  s.deleteMark,
	} {
		pages.HandleFunc(pattern, answer)
	}
	pages.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.showMissing(w, r, pages) })
	return pages
}

// newHandler answers every request; port is that of the listener.
func (s *Server) newHandler(port string) http.Handler {
	pages := s.newPages()
	pages.HandleFunc("GET /static/api.js", serveAPIScript)
	pages.HandleFunc("GET /clusters/{context}/api", s.showAPI)
	api := s.newAPI()
	for _, root := range []string{v3Root, apiRoot} {
		pages.Handle(root, api)
		pages.Handle(root+"/", api)
	}
	return s.guard(port, pages, api)
}

// showMissing answers a request that no page is for: the path does not exist, or not with
// this method.
func (s *Server) showMissing(w http.ResponseWriter, r *http.Request, pages *http.ServeMux) {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		other := r.Clone(r.Context())
		other.Method = method
		if _, pattern := pages.Handler(other); pattern != "/" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		s.writeMessage(w, r, http.StatusMethodNotAllowed, message{Title: "Not possible", Text: "This address does not answer " + r.Method + " requests.", Home: true})
		return
	}
	s.writeMessage(w, r, http.StatusNotFound, message{Title: "Page not found", Text: "There is nothing at this address.", Home: true})
}
