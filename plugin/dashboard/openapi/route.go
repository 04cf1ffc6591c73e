package openapi

import "reflect"

// Route is a route of an API, with the types of its body and its answer.
type Route struct {
	Method  string
	Path    string // as net/http has it, such as /clusters/{id}
	Summary string
	Query   []Parameter
	Body    reflect.Type // nil: it has no body
	// BodyOptional says that the body may be missing.
	BodyOptional bool
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
