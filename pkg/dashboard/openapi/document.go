package openapi

import (
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
)

// Document describes an API.
type Document struct {
	Title       string
	Version     string
	Description string
	Address     string // below which the routes are
	Routes      []Route
	// Errors is the type of an error of a route, and its type of content.
	Errors func(Route) (reflect.Type, string)
	Values Values
	// Session is the name of the cookie that permits requests besides the token.
	Session string
}

// Build makes the document. It can be encoded as JSON.
func (d Document) Build() map[string]any {
	s := &schemas{values: d.Values, components: object{}, names: map[string]reflect.Type{}}
	paths := object{}
	for _, route := range d.Routes {
		item, known := paths[route.Path].(object)
		if !known {
			item = object{}
			paths[route.Path] = item
		}
		item[strings.ToLower(route.Method)] = d.describeRoute(s, route)
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": d.Title, "version": d.Version, "description": d.Description},
		"servers": []any{object{"url": d.Address}},
		"paths":   paths,
		"components": object{"schemas": s.components, "securitySchemes": object{
			"token":   object{"type": "http", "scheme": "bearer"},
			"session": object{"type": "apiKey", "in": "cookie", "name": d.Session},
		}},
		"security": []any{object{"token": []any{}}, object{"session": []any{}}},
	}
}

func (d Document) describeRoute(s *schemas, route Route) object {
	failure, content := d.Errors(route)
	schema := object{}
	if route.Answer != nil {
		schema = s.ofType(route.Answer)
	}
	answer := object{"description": "the answer", "content": object{route.Content: object{"schema": schema}}}
	out := object{
		"summary": route.Summary, "operationId": route.OperationID(), "parameters": describeParameters(route),
		"responses": object{
			strconv.Itoa(route.Status): answer,
			"default":                  object{"description": "an error", "content": object{content: object{"schema": s.ofType(failure)}}},
		},
	}
	if route.Body != nil {
		s.closeType(route.Body)
		body := object{"schema": s.ofType(route.Body)}
		if route.Example != "" {
			body["example"] = json.RawMessage(route.Example)
		}
		out["requestBody"] = object{"required": !route.BodyOptional, "content": object{"application/json": body}}
	}
	return out
}

func describeParameters(route Route) []any {
	out := []any{}
	for _, name := range route.PathParameters() {
		out = append(out, object{"name": name, "in": "path", "required": true, "schema": object{"type": "string"}})
	}
	for _, p := range route.Query {
		schema := object{"type": "string"}
		if p.Values != nil {
			schema["enum"] = p.Values
		}
		out = append(out, object{"name": p.Name, "in": "query", "required": p.Required, "description": p.Text, "schema": schema})
	}
	return out
}
