package dashboard

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// The types of answers.
const (
	contentJSON    = "application/json"
	contentProblem = "application/problem+json"
)

// NewToken is a random token for requests to the API. Its form is that of Rancher's tokens, so that
// clients can send it as a user and a password, too.
func NewToken() string { return TokenPrefix + rand.Text() }

// TokenPrefix begins every token.
const TokenPrefix = "rotate-certs:" //nolint:gosec // what follows it is the secret

// newAPI is the handler of the API's paths.
func (s *Server) newAPI() http.Handler {
	mux := http.NewServeMux()
	for _, route := range apiRoutes() {
		mux.HandleFunc(route.Method+" "+route.Path, func(w http.ResponseWriter, r *http.Request) {
			route.serve(s, &apiCall{w: w, r: r, base: s.baseOf(r)})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { s.showMissing(w, r, mux) })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isBelow(r.URL.Path, v3Root) { // clients of Rancher's API read this first
			w.Header().Set("X-API-Schemas", addressAt(r, s.baseOf(r), v3Root+"/schemas"))
		}
		switch {
		case fromOtherPage(r):
			s.writeAPIError(w, r, notPermitted("the request came from a page of another site"))
		case s.options.ReadOnly && r.Method != http.MethodGet && r.Method != http.MethodHead:
			s.writeAPIError(w, r, notPermitted(readOnlyText))
		default:
			mux.ServeHTTP(w, r)
		}
	})
}

// answerToken answers a request outside the prefix of the pages: it needs the token.
func (s *Server) answerToken(w http.ResponseWriter, r *http.Request, api http.Handler) {
	if s.options.Token == "" || !sameSecret(givenToken(r), s.options.Token) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rotate-certs"`)
		s.writeAPIError(w, r, &apiError{Status: http.StatusUnauthorized, Code: codeUnauthorized, Text: "the request has no valid token",
			Next: "start the dashboard with --api-token-file FILE, and send the token of this file as Authorization: Bearer TOKEN"})
		return
	}
	api.ServeHTTP(w, r)
}

// givenToken is the token of a request. Clients of Rancher's API may send both its parts as a user
// and a password.
func givenToken(r *http.Request) string {
	if user, password, is := r.BasicAuth(); is {
		return user + ":" + password
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// fromOtherPage reports whether a browser sends the request for a page of another origin. Programs
// send neither of the headers.
func fromOtherPage(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	return origin != "" && origin != "http://"+r.Host
}

// isBelow reports whether a path is a root or below it.
func isBelow(path, root string) bool { return path == root || strings.HasPrefix(path, root+"/") }

func isAPIPath(path string) bool { return isBelow(path, v3Root) || isBelow(path, apiRoot) }

// pathOf is the path of a request as it was sent, with the prefix of the pages.
func pathOf(r *http.Request) string {
	path, _, _ := strings.Cut(r.RequestURI, "?")
	if plain, err := url.PathUnescape(path); err == nil {
		return plain
	}
	return path
}

// baseOf is the prefix of the pages if the request names it, else empty.
func (s *Server) baseOf(r *http.Request) string {
	if s.session.namesPrefix(r.RequestURI) {
		return s.session.prefix
	}
	return ""
}

// asksAPI reports whether a request is for the API, within the pages or with a token.
func (s *Server) asksAPI(r *http.Request) bool {
	return isAPIPath(strings.TrimPrefix(pathOf(r), s.baseOf(r)))
}

// writeDocument sends a document as JSON.
func writeDocument(w http.ResponseWriter, status int, content string, document any) {
	text, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		http.Error(w, "encode the answer: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", content)
	w.WriteHeader(status)
	_, _ = w.Write(append(escapeControls(text), '\n')) // the client closed the connection
}

// escapeControls escapes the characters of a JSON text that a terminal could obey, and those that
// reverse the direction of text. Outside strings there are none.
func escapeControls(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range string(text) {
		if r > '~' && (unicode.IsControl(r) || '\u202a' <= r && r <= '\u202e' || '\u2066' <= r && r <= '\u2069') {
			out = fmt.Appendf(out, `\u%04x`, r)
			continue
		}
		out = append(out, string(r)...)
	}
	return out
}
