package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// The paths of the sign-in of a dashboard of several users.
const (
	signInPath  = "/sign-in"
	signOutPath = "/sign-out"
)

// signInForm is the page on which a user signs in.
type signInForm struct {
	Next  string // address of the page that follows
	Error string
	Hint  string
}

// isSecure reports whether the browser's connection is encrypted, up to here or to a proxy in between.
func isSecure(r *http.Request) bool {
	return r.TLS != nil || strings.EqualFold(r.Header.Get("X-Forwarded-Proto"), "https")
}

// hostedCookie is the name of the cookie. With the prefix, a browser accepts it over an encrypted
// connection of this very host only.
func hostedCookie(r *http.Request) string {
	if isSecure(r) {
		return "__Host-rotate-certs-dashboard"
	}
	return "rotate-certs-dashboard"
}

// setCookie ties the session to the browser until a time; in the past: not anymore.
func setCookie(w http.ResponseWriter, r *http.Request, value string, lifetime time.Duration) {
	seconds := int(lifetime / time.Second)
	if seconds <= 0 {
		seconds = -1
	}
	//nolint:gosec // Secure would keep the cookie from a forwarded port at http://127.0.0.1
	http.SetCookie(w, &http.Cookie{Name: hostedCookie(r), Value: value, Path: "/", MaxAge: seconds, HttpOnly: true,
		SameSite: http.SameSiteStrictMode, Secure: isSecure(r)})
}

func (h *Hosted) writeSignIn(w http.ResponseWriter, r *http.Request, status int, form signInForm) {
	h.outside.writePage(w, r, status, "signin.html", "Sign in", form)
}

// answerSignIn shows the form, and exchanges a token for a session.
func (h *Hosted) answerSignIn(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		h.writeSignIn(w, r, http.StatusOK, signInForm{Next: "/"})
		return
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", "GET, HEAD, POST")
		h.outside.writeMessage(w, r, http.StatusMethodNotAllowed, message{Title: "Not possible", Text: "This address does not answer " + r.Method + " requests.", Home: true})
		return
	case !h.outside.readForm(w, r):
		return
	}
	form := signInForm{Next: localPath(r.PostForm.Get("next"))}
	user, err := h.reviewToken(r, strings.TrimSpace(r.PostForm.Get("token")))
	if err != nil {
		h.refuseSignIn(w, r, form, err)
		return
	}
	cookie := newCookie()
	added, err := h.addSession(cookieKey(cookie), user, false)
	if err != nil {
		form.Error = err.Error()
		h.writeSignIn(w, r, http.StatusServiceUnavailable, form)
		return
	}
	h.endOwnSession(r)
	h.options.Report(printers.CleanText("signed in: " + user.Name))
	setCookie(w, r, cookie, added.until.Sub(h.options.Now()))
	http.Redirect(w, r, form.Next, http.StatusSeeOther) //nolint:gosec // localPath has checked it
}

// refuseSignIn answers a token that is not accepted, or could not be reviewed.
func (h *Hosted) refuseSignIn(w http.ResponseWriter, r *http.Request, form signInForm, err error) {
	form.Error, form.Hint = errorParts(err)
	status := http.StatusServiceUnavailable
	switch {
	case errors.Is(err, errTooManyFailures): // not logged: an attacker would fill the log
		w.Header().Set("Retry-After", "60")
		h.writeSignIn(w, r, http.StatusTooManyRequests, form)
		return
	case errors.Is(err, ErrNotAccepted):
		status = http.StatusForbidden
	}
	h.options.Report(printers.CleanText("sign-in refused: " + form.Error))
	h.writeSignIn(w, r, status, form)
}

// reviewToken has the token of a request reviewed, within the bounds.
func (h *Hosted) reviewToken(r *http.Request, token string) (user User, err error) {
	err = h.limits.limitReview(r.Context(), addressOf(r), func(ctx context.Context) error {
		if len(token) > longestToken || !isTokenText(token) {
			return ErrNotAccepted
		}
		user, err = h.options.Users.ReviewToken(ctx, token)
		return err
	})
	return user, err
}

// isTokenText reports whether a text may be a bearer token.
func isTokenText(token string) bool {
	return token != "" && !strings.ContainsFunc(token, func(c rune) bool { return c <= ' ' || c > '~' })
}

// answerSignOut ends the session of a browser.
func (h *Hosted) answerSignOut(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		h.outside.writeMessage(w, r, http.StatusMethodNotAllowed, message{Title: "Not possible", Text: "This address does not answer " + r.Method + " requests.", Home: true})
		return
	}
	h.endOwnSession(r)
	setCookie(w, r, "", 0)
	http.Redirect(w, r, signInPath, http.StatusSeeOther)
}

// endOwnSession ends the session of the cookie in a request.
func (h *Hosted) endOwnSession(r *http.Request) {
	for _, cookie := range r.CookiesNamed(hostedCookie(r)) {
		h.sessions.endSession(cookieKey(cookie.Value))
	}
}
