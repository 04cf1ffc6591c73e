package dashboard

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"strings"
	"sync"
)

// localSession ties the pages to the browser that opened the address with the token. The token is
// exchanged once for a cookie, so that an address in the browser's history or in a list of
// processes opens nothing.
type localSession struct {
	token  string
	cookie string // its value
	prefix string // of the paths of all pages, such as /ABCDE

	mu   sync.Mutex
	used bool
}

func newLocalSession() *localSession {
	return &localSession{token: rand.Text(), cookie: rand.Text(), prefix: "/" + rand.Text()}
}

// namesPrefix reports whether an address is one of the pages. Browsers send cookies to every port of
// a host, but not to other paths: another user's server at 127.0.0.1 does not get this cookie, and
// its pages cannot name an address to which it is sent.
func (s *localSession) namesPrefix(address string) bool {
	if s.prefix == "" {
		return true // of a dashboard of several users
	}
	start, _, _ := strings.Cut(strings.TrimPrefix(address, "/"), "/")
	return sameSecret("/"+start, s.prefix)
}

// exchange is the answer to a token.
type exchange int

const (
	exchangeOpened exchange = iota
	exchangeUsed
	exchangeWrong
)

// useToken compares a token, and uses it up if it is the right one.
func (s *localSession) useToken(given string) exchange {
	if !sameSecret(given, s.token) {
		return exchangeWrong
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.used {
		return exchangeUsed
	}
	s.used = true
	return exchangeOpened
}

func sameSecret(given, want string) bool {
	return subtle.ConstantTimeCompare([]byte(given), []byte(want)) == 1
}

// cookieName contains the port: browsers send a cookie to every port of a host, and two
// dashboards must not replace each other's.
func cookieName(port string) string { return "rotate-certs-dashboard-" + port }

// hasCookie reports whether a request comes from the browser that opened the dashboard. A
// browser may send several cookies of one name, those of other paths among them.
func (s *localSession) hasCookie(r *http.Request, port string) bool {
	for _, c := range r.CookiesNamed(cookieName(port)) {
		if sameSecret(c.Value, s.cookie) {
			return true
		}
	}
	return false
}

// openSession answers the address with the token.
func (s *Server) openSession(w http.ResponseWriter, r *http.Request, port string) {
	switch {
	case r.Method == http.MethodHead || r.Header.Get("Sec-Purpose") != "" || r.Header.Get("Purpose") != "":
		// The browser fetches it before the operator opens it: the token is not used up.
		s.writeMessage(w, r, http.StatusForbidden, message{Title: "Not opened", Text: "Open this address in a tab."})
		return
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", "GET, HEAD")
		s.writeMessage(w, r, http.StatusMethodNotAllowed, message{Title: "Not possible", Text: "This address can only be opened."})
		return
	}
	switch s.session.useToken(r.URL.Query().Get("token")) {
	case exchangeOpened:
		//nolint:gosec // Secure would keep the cookie from http://127.0.0.1, which is not encrypted and does not leave the machine
		http.SetCookie(w, &http.Cookie{Name: cookieName(port), Value: s.session.cookie, Path: s.session.prefix + "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			// The command's own file has led here. A redirect of that request would not carry the
			// cookie, a request of this page does.
			w.Header().Set("Refresh", "0; url="+s.session.prefix+"/")
			s.writeMessage(w, r, http.StatusOK, message{Title: "Signed in", Text: "The dashboard opens."})
			return
		}
		s.redirectTo(w, r, "/")
	case exchangeUsed:
		s.options.Report("The address with the token was opened again. If it was not you, another user has tried it. " +
			"If the page says that it was used already and you have not opened it before, another user has: end the dashboard with Ctrl-C.")
		s.writeMessage(w, r, http.StatusForbidden, message{Title: "This link has been used already",
			Text: "It can be used once. Start the dashboard again, or use the page that is open."})
	default:
		s.writeMessage(w, r, http.StatusForbidden, message{Title: "This link is not valid",
			Text: "It belongs to a dashboard that has ended, or it is incomplete. Start the dashboard again: kubectl rotate-certs dashboard"})
	}
}
