package dashboard

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"reflect"

	kjson "sigs.k8s.io/json"

	"github.com/rotate-certs/rotate-certs/pkg/dashboard/openapi"
)

// The paths below which the APIs are.
const (
	v3Root  = "/v3"
	apiRoot = "/api/v1"
)

// apiRoute is a route of an API. Both the mux and the OpenAPI document are made of the table
// [apiRoutes].
type apiRoute struct {
	openapi.Route
	serve  func(*Server, *apiCall)
	right  Right // that a request needs which changes something; empty: none
	starts bool  // it may start a rotation
}

// apiCall is a request to an API.
type apiCall struct {
	w http.ResponseWriter
	r *http.Request
	// base is the prefix of all paths for a request of a page, and empty for one with a token.
	base string
}

// addressOf is the address of a path of the API.
func (c *apiCall) addressOf(path string) string { return addressAt(c.r, c.base, path) }

func addressAt(r *http.Request, base, path string) string { return "http://" + r.Host + base + path }

// nothing is the body of a request that has none.
type nothing struct{}

// optionalBody is a body that may be missing, or null.
type optionalBody interface{ mayBeMissing() }

// getRoute is a route that reads.
func getRoute[Out any](path, summary string, answer func(*Server, *apiCall) (Out, error)) apiRoute {
	return newRoute(http.MethodGet, path, summary, http.StatusOK, func(s *Server, call *apiCall, _ nothing) (Out, error) { return answer(s, call) })
}

// postRoute is a route that changes something.
func postRoute[In, Out any](path, summary string, status int, answer func(*Server, *apiCall, In) (Out, error)) apiRoute {
	return newRoute(http.MethodPost, path, summary, status, answer)
}

// rawRoute is a route that writes its answer.
func rawRoute(path, summary, content string, serve func(*Server, *apiCall)) apiRoute {
	return apiRoute{Route: openapi.Route{Method: http.MethodGet, Path: path, Summary: summary, Status: http.StatusOK, Content: content}, serve: serve}
}

// newRoute is a route with the types of its body and its answer.
func newRoute[In, Out any](method, path, summary string, status int, answer func(*Server, *apiCall, In) (Out, error)) apiRoute {
	out := apiRoute{Route: openapi.Route{Method: method, Path: path, Summary: summary, Status: status, Answer: reflect.TypeFor[Out](), Content: contentJSON}}
	if in := reflect.TypeFor[In](); in != reflect.TypeFor[nothing]() {
		out.Body = in
		out.BodyOptional = in.Implements(reflect.TypeFor[optionalBody]())
	}
	out.serve = func(s *Server, call *apiCall) {
		in, err := readBody[In](call.r)
		var document Out
		if err == nil {
			document, err = answer(s, call, in)
		}
		if err != nil {
			s.writeAPIError(call.w, call.r, err)
			return
		}
		writeDocument(call.w, status, contentJSON, document)
	}
	return out
}

// withQuery adds the parameters of the query.
func (r apiRoute) withQuery(parameters ...openapi.Parameter) apiRoute {
	r.Query = parameters
	return r
}

// needing names the right that the page asks for before it offers the request.
func (r apiRoute) needing(right Right) apiRoute {
	r.right = right
	return r
}

// startingWith says that the request starts a rotation, with an example of its body.
func (r apiRoute) startingWith(example string) apiRoute {
	r.starts = true
	return r.withExample(example)
}

func (r apiRoute) withExample(example string) apiRoute {
	r.Example = example
	return r.needing(RightRotate)
}

// readBody reads a body strictly: an unknown field is an error, since a mistyped "nodes" must not
// select every node.
func readBody[In any](r *http.Request) (In, error) {
	var in In
	if _, none := any(in).(nothing); none {
		return in, nil
	}
	text, err := io.ReadAll(r.Body)
	if large, is := asTooLarge(err); is {
		return in, &apiError{Status: http.StatusRequestEntityTooLarge, Code: codeInvalidBody, Text: large.Error()}
	}
	if err != nil {
		return in, &apiError{Status: http.StatusBadRequest, Code: codeInvalidBody, Text: "read the body: " + err.Error()}
	}
	_, optional := any(in).(optionalBody)
	text = bytes.TrimSpace(text)
	if missing := len(text) == 0 || string(text) == "null"; missing && optional {
		return in, nil
	} else if missing {
		return in, &apiError{Status: http.StatusUnprocessableEntity, Code: codeInvalidBody, Text: "the request has no body"}
	}
	if given := r.Header.Get("Content-Type"); !optional && given != "" {
		if kind, _, err := mime.ParseMediaType(given); err != nil || kind != contentJSON {
			return in, &apiError{Status: http.StatusUnsupportedMediaType, Code: codeInvalidBody, Text: "the body is " + given + ", want " + contentJSON}
		}
	}
	strict, err := kjson.UnmarshalStrict(text, &in)
	if err == nil {
		err = errors.Join(strict...)
	}
	if e := (&apiError{}); errors.As(err, &e) {
		return in, e
	}
	if err != nil {
		return in, &apiError{Status: http.StatusUnprocessableEntity, Code: codeInvalidBody, Text: "read the body: " + err.Error()}
	}
	return in, nil
}
