package dashboard

import (
	"net"
	"net/http"
	"slices"
	"time"
)

// contentPolicy lets a page load this server's script and stylesheet, and nothing else.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// guard checks every request before a page sees it:
//
//   - the Host header must name this listener: a page of another site whose name resolves to
//     127.0.0.1 (DNS rebinding) sends its own
//   - only the stylesheet and the address with the token are served without the cookie and outside
//     the prefix, which both are random
//   - the API is served outside the prefix to requests with the token, and below it as pages are
//   - a request that changes something must come from a page of this server
//   - another page of a browser may open a page, but not load one as a part of itself
//   - a body has a limit, and so has the time for an answer
func (s *Server) guard(port string, pages, api http.Handler) http.Handler {
	hosts := []string{net.JoinHostPort("127.0.0.1", port), net.JoinHostPort("localhost", port), net.JoinHostPort("::1", port)}
	below := http.StripPrefix(s.session.prefix, pages)
	crossOrigin := http.NewCrossOriginProtection()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header())
		// A writer without deadlines, as in a test, has none.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(responseTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		switch {
		case !slices.Contains(hosts, r.Host):
			s.writeMessage(w, r, http.StatusForbidden, message{Title: "Wrong address",
				Text: "The dashboard answers at 127.0.0.1, localhost and [::1] with its own port only."})
		case r.URL.Path == "/open":
			s.openSession(w, r, port)
		case r.URL.Path == "/static/style.css":
			serveStyle(w, r)
		case isAPIPath(r.URL.Path):
			s.answerToken(w, r, api)
		case !s.session.namesPrefix(r.URL.Path) || !s.session.hasCookie(r, port):
			s.writeMessage(w, r, http.StatusForbidden, message{Title: "Not signed in",
				Text: "Open the address that the command printed. If it has been used in another browser, or the dashboard has ended, start it again: kubectl rotate-certs dashboard"})
		case crossOrigin.Check(r) != nil:
			s.writeMessage(w, r, http.StatusForbidden, message{Title: "Refused", Text: "The request came from a page of another site.", Home: true})
		case loadedByOthers(r):
			s.writeMessage(w, r, http.StatusForbidden, message{Title: "Refused", Text: "A page of another site requested this page as a part of itself.", Home: true})
		default:
			below.ServeHTTP(w, r)
		}
	})
}

// loadedByOthers reports whether a page of another origin requests something without opening it in
// a tab. Browsers without these headers are held off by the cookie and Cross-Origin-Resource-Policy.
func loadedByOthers(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-site", "cross-site":
		return r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document"
	}
	return false
}

// setHeaders sets the headers of every answer.
func setHeaders(h http.Header) {
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "no-store")
}
