package dashboard

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"unicode"
)

//go:embed templates/*.html
var templateFiles embed.FS

//go:embed static/style.css
var style []byte

var templates = template.Must(template.New("").ParseFS(templateFiles, "templates/*.html"))

// message is a page that says one thing.
type message struct {
	Title string
	Text  string
	Hint  string
	Home  bool // with a link to the first page
}

// page is the data of every page.
type page struct {
	Title    string
	Version  string
	ReadOnly bool
	Content  any
}

func (s *Server) writeMessage(w http.ResponseWriter, r *http.Request, status int, m message) {
	s.writePage(w, r, status, "message.html", m.Title, m)
}

// writePage renders a page completely before it sends the first byte, so that an error does not
// leave half of one.
func (s *Server) writePage(w http.ResponseWriter, _ *http.Request, status int, name, title string, content any) {
	var out bytes.Buffer
	if err := templates.ExecuteTemplate(&out, name, page{Title: title, Version: s.options.Version, ReadOnly: s.options.ReadOnly, Content: content}); err != nil {
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
	case r == '\n' || r == '\t':
		return r
	case unicode.IsControl(r), strings.ContainsRune("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", r):
		return ' '
	}
	return r
}

func serveStyle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	_, _ = w.Write(style) // the browser closed the connection
}
