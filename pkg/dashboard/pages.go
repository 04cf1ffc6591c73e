package dashboard

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/style.css
var style []byte

//go:embed static/script.js
var script []byte

//go:embed static/events.js
var eventsScript []byte

//go:embed static/api.js
var apiScript []byte

// parseTemplates returns the templates of pages, with a prefix before their links.
func parseTemplates(prefix string) *template.Template {
	linkTo := func(path string) string { return prefix + path }
	return template.Must(template.New("").Funcs(template.FuncMap{"at": linkTo}).Funcs(templateFunctions).ParseFS(templateFiles, "templates/*.html"))
}

var templateFunctions = template.FuncMap{
	"minute":    printers.UTCMinute,
	"second":    printers.ToTheSecond,
	"remaining": remainingWords,
	"certCount": func(n int) string { return printers.CountOf(n, "certificate") },
	"nodeCount": func(n int) string { return printers.CountOf(n, "node") },
	"services":  func(services []certs.Service) string { return printers.JoinServices(services, ", ") },
	"names":     func(names []string) string { return strings.Join(names, ", ") },
	"someNames": printers.SomeNames,

	"deletes":  func(path, name string) string { return path + "/marks/" + url.PathEscape(name) + "/delete" },
	"replaced": markState,
}

// remainingWords is the time until a moment, or since.
func remainingWords(t, now time.Time) string {
	if d := t.Sub(now); d >= 0 {
		return "in " + printers.RemainingTime(d)
	}
	return printers.RemainingTime(now.Sub(t)) + " ago"
}

// markState says how far the watcher is with a CompromisedCertificate.
func markState(mark v1alpha1.CompromisedCertificate) string {
	for _, c := range mark.Status.Conditions {
		if c.Type == v1alpha1.ConditionReplaced && c.Status == metav1.ConditionTrue {
			return "replaced"
		}
	}
	for _, c := range mark.Status.Conditions {
		if c.Type == v1alpha1.ConditionReplaced || c.Type == v1alpha1.ConditionAccepted && c.Status == metav1.ConditionFalse {
			return strings.TrimSpace("not replaced yet. " + c.Message)
		}
	}
	return "not replaced yet"
}

// message is a page that says one thing.
type message struct {
	Title string
	Text  string
	Hint  string
	Back  string // address of the page to return to
	Home  bool   // with a link to the first page
}

// page is the data of every page.
type page struct {
	Title    string
	Version  string
	ReadOnly bool
	Hosted   bool   // in a cluster
	User     string // signed in
	SignOut  bool
	Again    int // milliseconds until the page asks again; 0: it does not
	Content  any
}

// againView is the content of a page that changes soon.
type againView interface{ askAgain() int }

func (v planView) askAgain() int    { return v.Again }
func (v clusterView) askAgain() int { return v.Again }
func (v historyView) askAgain() int { return v.Again }

// writeMessage answers with a message, in the form of the API where the request is for it.
func (s *Server) writeMessage(w http.ResponseWriter, r *http.Request, status int, m message) {
	if s.asksAPI(r) {
		s.writeAPIError(w, r, &apiError{Status: status, Code: codeOf(status), Text: m.Text, Next: m.Hint})
		return
	}
	s.writePage(w, r, status, "message.html", m.Title, m)
}

// redirectTo leads to a page of this server.
func (s *Server) redirectTo(w http.ResponseWriter, r *http.Request, path string) {
	http.Redirect(w, r, s.session.prefix+path, http.StatusSeeOther) //nolint:gosec // a page of this server, escaped
}

// writePage renders a page completely before it sends the first byte, so that an error does not
// leave half of one.
func (s *Server) writePage(w http.ResponseWriter, r *http.Request, status int, name, title string, content any) {
	templates := s.outside
	if s.session.namesPrefix(r.RequestURI) {
		templates = s.inside
	}
	view := page{Title: title, Version: s.options.Version, ReadOnly: s.options.ReadOnly, Hosted: s.options.Hosted, User: s.options.User, SignOut: s.options.SignOut, Content: content}
	if soon, is := content.(againView); is {
		view.Again = soon.askAgain()
	}
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, view); err != nil {
		http.Error(w, "render "+name+": "+err.Error(), http.StatusInternalServerError)
		return
	}
	sendHTML(w, status, out.Bytes())
}

// sendHTML sends a page without the characters that could change how the rest of it is shown.
func sendHTML(w http.ResponseWriter, status int, html []byte) {
	html = bytes.Map(printableRune, html)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(html)))
	w.WriteHeader(status)
	_, _ = w.Write(html) // the browser closed the connection
}

// printableRune replaces control characters, and those that reverse the direction of text.
func printableRune(r rune) rune {
	switch {
	case ' ' <= r && r <= '~' || r == '\n' || r == '\t':
		return r
	case unicode.IsControl(r), '\u202a' <= r && r <= '\u202e', '\u2066' <= r && r <= '\u2069':
		return ' '
	}
	return r
}

func serveScript(w http.ResponseWriter, _ *http.Request) { sendScript(w, script) }

func serveEventsScript(w http.ResponseWriter, _ *http.Request) { sendScript(w, eventsScript) }

func serveAPIScript(w http.ResponseWriter, _ *http.Request) { sendScript(w, apiScript) }

func sendScript(w http.ResponseWriter, text []byte) {
	w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
	_, _ = w.Write(text) // the browser closed the connection
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(style) // the browser closed the connection
}
