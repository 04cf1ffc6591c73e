package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Limits of a connection. A response has its own deadline, see deadlineOf, since a stream of
// events lives longer than any of these.
const (
	headerTimeout   = 10 * time.Second
	readTimeout     = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	responseTimeout = 30 * time.Second
	shutdownTimeout = 3 * time.Second
	maxHeader       = 32 << 10
	maxBody         = 64 << 10
)

// Server serves the pages of the dashboard to one browser, on the loopback interface.
type Server struct {
	options Options
	session *session
}

// NewServer returns a server that has not started to listen.
func NewServer(options Options) (*Server, error) {
	if options.Clusters == nil || len(options.Clusters.Contexts()) == 0 {
		return nil, errors.New("start the dashboard: the kubeconfig has no context\nhint: kubectl config get-contexts")
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Report == nil {
		options.Report = func(string) {}
	}
	return &Server{options: options, session: newSession()}, nil
}

// OpenAddress is the address that opens the dashboard in a browser. It holds a token that can be
// used once.
func (s *Server) OpenAddress(listener net.Addr) string {
	return "http://" + listener.String() + "/open?token=" + s.session.token
}

// Running are the contexts whose rotation is in progress in this process.
func (s *Server) Running() []string {
	return nil
}

// Serve answers requests until ctx ends. A rotation in progress is then interrupted as by Ctrl-C:
// Serve returns when it has ended, and its pages can be read until then.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	port, err := loopbackPort(listener.Addr())
	if err != nil {
		_ = listener.Close()
		return err
	}
	server := &http.Server{
		Handler:           s.newHandler(port),
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err = <-failed:
		err = fmt.Errorf("serve the dashboard at %q: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	closeServer(server)
	return err
}

// closeServer lets answers in progress end, within a limit.
func closeServer(server *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if server.Shutdown(ctx) != nil {
		_ = server.Close()
	}
}

// loopbackPort is the port of a listener that other machines cannot reach.
func loopbackPort(address net.Addr) (string, error) {
	tcp, is := address.(*net.TCPAddr)
	if !is || !tcp.IP.IsLoopback() {
		return "", fmt.Errorf("serve the dashboard at %q: other machines could reach this address\nhint: listen at 127.0.0.1", address)
	}
	return strconv.Itoa(tcp.Port), nil
}

// newHandler answers every request; port is that of the listener.
func (s *Server) newHandler(port string) http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /static/style.css", serveStyle)
	pages.HandleFunc("GET /{$}", s.showOverview)
	pages.HandleFunc("/", s.showMissing)
	return s.guard(port, pages)
}

func (s *Server) showOverview(w http.ResponseWriter, r *http.Request) {
	s.writeMessage(w, r, http.StatusOK, message{Title: "Clusters", Text: "The pages are not complete."})
}

// showMissing answers a request that no page is for: the path does not exist, or not with
// this method.
func (s *Server) showMissing(w http.ResponseWriter, r *http.Request) {
	s.writeMessage(w, r, http.StatusNotFound, message{Title: "Page not found", Text: "There is no such page."})
}
