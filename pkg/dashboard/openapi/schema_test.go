package openapi

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

type color string

type apiFacts struct {
	Names []string `json:"names,omitempty"`
	Color color    `json:"color"`
}

type apiItem struct {
	apiFacts
	// Names hide those of the embedded struct.
	Names  []string       `json:"names" doc:"the names"`
	At     *time.Time     `json:"at,omitempty"`
	Seen   metav1.Time    `json:"seen"`
	Facts  *apiFacts      `json:"facts"`
	Counts map[string]int `json:"counts,omitempty"`
	Hidden string         `json:"-"`
	hidden string
}

type apiList[T any] struct {
	Items []T `json:"items"`
}

func buildSchemas(of reflect.Type) map[string]any {
	s := &schemas{values: Values{reflect.TypeFor[color](): {"red"}}, components: object{}, names: map[string]reflect.Type{}}
	s.ofType(of)
	return s.components
}

func TestSchemasAreAsJSONIsWritten(t *testing.T) {
	_ = apiItem{}.hidden
	text := object{"type": "string"}
	assert.Equal(t, object{
		"ListOfItem": object{"type": "object", "required": []string{"items"}, "properties": object{
			"items": object{"type": []string{"array", "null"}, "items": object{"$ref": "#/components/schemas/Item"}}}},
		"Item": object{"type": "object", "required": []string{"color", "facts", "names", "seen"}, "properties": object{
			"names":  object{"type": []string{"array", "null"}, "items": text, "description": "the names"},
			"color":  object{"type": "string", "enum": []string{"red"}},
			"at":     object{"type": "string", "format": "date-time"},
			"seen":   object{"type": []string{"string", "null"}, "format": "date-time"},
			"facts":  object{"anyOf": []any{object{"$ref": "#/components/schemas/Facts"}, object{"type": "null"}}},
			"counts": object{"type": "object", "additionalProperties": object{"type": "integer"}}}},
		"Facts": object{"type": "object", "required": []string{"color"}, "properties": object{
			"names": object{"type": "array", "items": text}, "color": object{"type": "string", "enum": []string{"red"}}}},
	}, buildSchemas(reflect.TypeFor[apiList[apiItem]]()))
}

// ownText is written in a form that the package does not know.
type ownText struct{ n int }

func (ownText) MarshalText() ([]byte, error) { return []byte("x"), nil }

// Item has the name of another type of this package in the document.
type Item struct{}

func TestWhatCannotBeDescribedIsNoticed(t *testing.T) {
	_ = ownText{}.n
	assert.Panics(t, func() { buildSchemas(reflect.TypeFor[ownText]()) })
	assert.Panics(t, func() { buildSchemas(reflect.TypeFor[chan int]()) })
	assert.Panics(t, func() {
		buildSchemas(reflect.TypeFor[struct {
			A apiItem
			B Item
		}]())
	})
}

func TestEveryParameterOfAPathIsDescribed(t *testing.T) {
	out := Document{Routes: []Route{{Method: "GET", Path: "/a/{id}/b/{name}", Status: 200, Content: "application/json"}},
		Errors: func(Route) (reflect.Type, string) { return reflect.TypeFor[apiFacts](), "application/problem+json" }}.Build()
	operation := out["paths"].(object)["/a/{id}/b/{name}"].(object)["get"].(object)
	assert.Equal(t, "getAIdBName", operation["operationId"])
	assert.Len(t, operation["parameters"], 2)
}
