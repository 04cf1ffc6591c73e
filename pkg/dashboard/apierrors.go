package dashboard

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

// The codes of errors, by the names that Rancher's API has for them.
const (
	codeUnauthorized     = "Unauthorized"
	codePermissionDenied = "PermissionDenied"
	codeNotFound         = "NotFound"
	codeNotAllowed       = "MethodNotAllow"
	codeConflict         = "Conflict"
	codeInvalidBody      = "InvalidBodyContent"
	codeInvalidOption    = "InvalidOption"
	codeInvalidAction    = "InvalidAction"
	codeInvalidState     = "InvalidState"
	codeServerError      = "ServerError"
	codeUnavailable      = "ClusterUnavailable"
)

// apiError is an error as the API answers it.
type apiError struct {
	Status   int
	Code     string
	Text     string
	Next     string    // the next step; may be empty
	Field    string    // of the request; empty: it is about no single field
	Rotation *rotation // that is in the way
}

func (e *apiError) Error() string { return e.Text }

// Hint returns the next step; see package hint.
func (e *apiError) Hint() string { return e.Next }

func notFound(text, next string) *apiError {
	return &apiError{Status: http.StatusNotFound, Code: codeNotFound, Text: text, Next: next}
}

func invalidField(field, text, next string) *apiError {
	return &apiError{Status: http.StatusUnprocessableEntity, Code: codeInvalidOption, Text: text, Next: next, Field: field}
}

func notPermitted(why string) *apiError {
	return &apiError{Status: http.StatusForbidden, Code: codePermissionDenied, Text: why}
}

// fromCluster is the answer for an error of a cluster.
func fromCluster(what string, err error) *apiError {
	text, next := errorParts(err)
	return &apiError{Status: http.StatusBadGateway, Code: codeServerError, Text: what + ": " + text, Next: next}
}

// codeOf is the code for a status that a page would have.
func codeOf(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return codeUnauthorized
	case http.StatusForbidden:
		return codePermissionDenied
	case http.StatusNotFound:
		return codeNotFound
	case http.StatusMethodNotAllowed:
		return codeNotAllowed
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge:
		return codeInvalidBody
	case http.StatusServiceUnavailable:
		return codeUnavailable
	}
	return codeServerError
}

// problem is an error of our own API, as RFC 9457 has it.
type problem struct {
	Type     string `json:"type" doc:"always about:blank: code says which error it is"`
	Title    string `json:"title" doc:"the status in words"`
	Status   int    `json:"status" doc:"the status of the answer"`
	Detail   string `json:"detail" doc:"the error"`
	Code     string `json:"code" doc:"the kind of the error, for programs"`
	Hint     string `json:"hint,omitempty" doc:"a command or request to try next"`
	Field    string `json:"field,omitempty" doc:"the field of the request that is not valid"`
	Rotation string `json:"rotation,omitempty" doc:"address of the rotation that is in the way"`
}

// v3Error is an error as Rancher's API has it.
type v3Error struct {
	Type      string            `json:"type" doc:"error"`
	BaseType  string            `json:"baseType" doc:"error"`
	Status    int               `json:"status" doc:"the status of the answer"`
	Code      string            `json:"code" doc:"the kind of the error"`
	Message   string            `json:"message" doc:"the error, and a hint"`
	FieldName string            `json:"fieldName,omitempty" doc:"the field of the request that is not valid"`
	Links     map[string]string `json:"links,omitempty" doc:"rotation: the rotation that is in the way"`
}

// writeAPIError answers a request in the form of its API.
func (s *Server) writeAPIError(w http.ResponseWriter, r *http.Request, err error) {
	e := &apiError{}
	if !errors.As(err, &e) {
		e = fromCluster("internal error", err)
	}
	base := s.baseOf(r)
	rotation := ""
	if e.Rotation != nil {
		rotation = addressAt(r, base, rotationAddress(e.Rotation))
	}
	if e.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(5))
	}
	if !isBelow(strings.TrimPrefix(pathOf(r), base), v3Root) {
		writeDocument(w, e.Status, contentProblem, problem{Type: "about:blank", Title: http.StatusText(e.Status), Status: e.Status,
			Detail: e.Text, Code: e.Code, Hint: e.Next, Field: e.Field, Rotation: rotation})
		return
	}
	out := v3Error{Type: "error", BaseType: "error", Status: e.Status, Code: e.Code, Message: hint.TextOf(e), FieldName: e.Field}
	if rotation != "" {
		out.Links = map[string]string{"rotation": rotation}
	}
	writeDocument(w, e.Status, contentJSON, out)
}
