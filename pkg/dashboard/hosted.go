package dashboard

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// HostedOptions are the parameters of a dashboard of several users.
type HostedOptions struct {
	Users Users
	// Hosts are the names by which browsers reach it, with or without a port; empty: any. The
	// loopback addresses, of a forwarded port, are always answered.
	Hosts   []string
	Version string
	Now     func() time.Time
	// Report is called with a line for the log when a user signs in or out, or is refused.
	Report func(line string)
}

// Hosted serves the pages to several users, each in a session of their own.
type Hosted struct {
	options     HostedOptions
	sessions    *hostedSessions
	outside     *Server // answers requests without a session
	crossOrigin *http.CrossOriginProtection
	limits      *signInLimits
	streams     chan struct{} // of all sessions
}

// NewHosted returns a dashboard of several users.
func NewHosted(options HostedOptions) *Hosted {
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.Report == nil {
		options.Report = func(string) {}
	}
	h := &Hosted{options: options, sessions: newHostedSessions(options.Now), crossOrigin: http.NewCrossOriginProtection(),
		limits: newSignInLimits(options.Now), streams: make(chan struct{}, maxStreams)}
	templates := parseTemplates("")
	h.outside = newServer(Options{Version: options.Version, Now: options.Now, Report: options.Report, Hosted: true}, &localSession{}, templates, templates)
	return h
}

// Close ends every session. Rotations continue: the watcher carries them out.
func (h *Hosted) Close() { h.sessions.closeAll() }

// ServeHTTP checks every request before a page sees it:
//
//   - the Host header must name the dashboard, where its names are known
//   - only the stylesheet and the sign-in are served without a session
//   - a request that changes something must come from a page of this server
//   - another page of a browser may open a page, but not load one as a part of itself
//   - a body has a limit, and so has the time for an answer
func (h *Hosted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	// A writer without deadlines, as in a test, has none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(responseTimeout))
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	switch {
	case !h.answersTo(r.Host):
		h.outside.writeMessage(w, r, http.StatusForbidden, message{Title: "Wrong address", Text: "The dashboard does not answer at this name.",
			Hint: "kubectl rotate-certs install --dashboard-host names those at which it does"})
	case r.URL.Path == "/static/style.css":
		serveStyle(w, r)
	case h.crossOrigin.Check(r) != nil:
		h.outside.writeMessage(w, r, http.StatusForbidden, message{Title: "Refused", Text: "The request came from a page of another site.", Home: true})
	case loadedByOthers(r):
		h.outside.writeMessage(w, r, http.StatusForbidden, message{Title: "Refused", Text: "A page of another site requested this page as a part of itself.", Home: true})
	case r.URL.Path == signInPath:
		h.answerSignIn(w, r)
	case r.URL.Path == signOutPath:
		h.answerSignOut(w, r)
	default:
		h.servePage(w, r)
	}
}

// servePage has the pages of the user's session answer.
func (h *Hosted) servePage(w http.ResponseWriter, r *http.Request) {
	found, err := h.sessionOf(r)
	switch {
	case err != nil:
		h.outside.writeMessage(w, r, http.StatusServiceUnavailable, message{Title: "Not signed in", Text: err.Error()})
	case found != nil:
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(found.open, cancel)()
		found.pages.ServeHTTP(w, r.WithContext(ctx))
	case r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Site") == "cross-site":
		// A browser does not send a strict cookie with a link of another site. It does with a request
		// of this page.
		w.Header().Set("Refresh", "0; url="+localPath(r.URL.RequestURI()))
		h.outside.writeMessage(w, r, http.StatusOK, message{Title: "Dashboard", Text: "The page opens."})
	default:
		h.writeSignIn(w, r, http.StatusForbidden, signInForm{Next: localPath(r.URL.RequestURI())})
	}
}

// answersTo reports whether a Host header names this dashboard.
func (h *Hosted) answersTo(host string) bool {
	if len(h.options.Hosts) == 0 || slices.ContainsFunc(h.options.Hosts, func(name string) bool { return strings.EqualFold(name, host) }) {
		return true
	}
	name := host
	if without, _, err := net.SplitHostPort(host); err == nil {
		name = without
	}
	return slices.Contains([]string{"127.0.0.1", "localhost", "::1"}, name) ||
		slices.ContainsFunc(h.options.Hosts, func(known string) bool { return strings.EqualFold(known, name) })
}

// sessionOf is the session of a request; nil: the user has to sign in.
func (h *Hosted) sessionOf(r *http.Request) (*hostedSession, error) {
	if user, named := h.options.Users.NamedByProxy(r); named {
		key := "proxy " + user.identity()
		if found := h.sessions.findSession(key); found != nil {
			return found, nil
		}
		return h.addSession(key, user, true)
	}
	for _, cookie := range r.CookiesNamed(hostedCookie(r)) {
		if found := h.sessions.findSession(cookieKey(cookie.Value)); found != nil {
			return found, nil
		}
	}
	return nil, nil
}

// addSession begins the session of a user.
func (h *Hosted) addSession(key string, user User, proxied bool) (*hostedSession, error) {
	return h.sessions.addSession(key, user, proxied, func(added *hostedSession) {
		options := Options{Clusters: h.options.Users.ClustersOf(user), Version: h.options.Version, Now: h.options.Now,
			Hosted: true, User: user.Name, SignOut: !proxied,
			Report: func(line string) { h.options.Report(user.Name + ": " + line) }}
		added.server = newServer(options, &localSession{}, h.outside.inside, h.outside.inside)
		added.server.streams = h.streams
		added.server.ownStreams = make(chan struct{}, streamsOfSession)
		added.server.work.kept = plansOfOneUser
		added.pages = added.server.newPages()
	})
}

// localPath is an address of this server: that of a request, unless a browser would take it for
// another site's.
func localPath(address string) string {
	if !strings.HasPrefix(address, "/") || strings.HasPrefix(address, "//") || strings.ContainsAny(address, "\\\r\n") ||
		strings.HasPrefix(address, signInPath) || strings.HasPrefix(address, signOutPath) {
		return "/"
	}
	return address
}
