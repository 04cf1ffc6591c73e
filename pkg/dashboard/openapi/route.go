package openapi

import (
	"reflect"
	"regexp"
	"strings"
)

// Route is a route of an API, with the types of its body and its answer.
type Route struct {
	Method  string
	Path    string // as net/http has it, such as /clusters/{id}
	Summary string
	Query   []Parameter
	Body    reflect.Type // nil: it has no body
	// BodyOptional says that the body may be missing.
	BodyOptional bool
	Example      string       // of a body, as JSON
	Status       int          // of an answer without an error
	Answer       reflect.Type // nil: its schema is not described
	Content      string       // type of the answer
}

// Parameter is a parameter of the query.
type Parameter struct {
	Name     string
	Text     string
	Required bool
	Values   []string // empty: any
}

var (
	pathParameter = regexp.MustCompile(`\{([a-zA-Z]+)\}`)
	pathWord      = regexp.MustCompile(`[A-Za-z0-9]+`)
)

// PathParameters are the names of the parameters of the path.
func (r Route) PathParameters() []string {
	var out []string
	for _, found := range pathParameter.FindAllStringSubmatch(r.Path, -1) {
		out = append(out, found[1])
	}
	return out
}

// OperationID is a name of the route, such as postApiV1ClustersIdScan.
func (r Route) OperationID() string {
	out := strings.ToLower(r.Method)
	for _, word := range pathWord.FindAllString(r.Path, -1) {
		out += upperFirst(word)
	}
	return out
}
