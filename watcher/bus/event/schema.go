package event

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

type object = map[string]any

// forms are the values that a field may have, by the name in its tag "schema".
var forms = map[string]object{
	"text":         {"type": "string", "maxLength": 32768},
	"reason":       {"type": "string", "minLength": 1, "maxLength": 1024},
	"bool":         {"type": "boolean"},
	"time":         {"type": "string", "format": "date-time"},
	"name":         {"type": "string", "minLength": 1, "maxLength": 253},
	"names":        {"type": "array", "maxItems": 10000, "uniqueItems": true, "items": object{"type": "string", "minLength": 1, "maxLength": 253}},
	"objectname":   {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253},
	"service":      {"enum": services()},
	"services":     {"type": "array", "minItems": 1, "uniqueItems": true, "items": object{"enum": services()}},
	"serial":       {"type": "string", "pattern": "^-?[0-9a-f]+$"},
	"fingerprint":  {"type": "string", "pattern": "^[0-9a-f]{64}$"},
	"fingerprints": {"type": "array", "maxItems": 20000, "uniqueItems": true, "items": object{"type": "string", "pattern": "^[0-9a-f]{64}$"}},
	"restart":      {"enum": []any{"Always", "IfNeeded", "Never"}},
	"unavailable":  {"type": "string", "pattern": "^[1-9][0-9]*%?$"},
	"trigger":      {"enum": []any{ReasonExpiring, ReasonCompromised}},
	"attempt":      {"type": "integer", "minimum": 1, "maximum": 2147483647},
	"result":       {"enum": []any{ResultSucceeded, ResultRolledBack, ResultFailed, ResultManualInterventionRequired, ResultRefused, ResultCanceled}},
}

func services() []any {
	var out []any
	for _, s := range certs.Services() {
		out = append(out, string(s))
	}
	return out
}

// Schema is the JSON Schema (2020-12) of a type's data, nil for a type that does not
// exist. Unknown fields are refused: a mistyped "nodes" must not mean "every node".
func Schema(t Type) map[string]any {
	d := dataOf(t.Wire())
	if d == nil {
		return nil
	}
	properties, required := object{}, []any{}
	describe(reflect.TypeOf(d), properties, &required)
	return object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:" + t.Wire(),
		"type": "object", "additionalProperties": false, "properties": properties, "required": required,
	}
}

// describe collects a struct's fields, those of embedded structs among them.
func describe(t reflect.Type, properties object, required *[]any) {
	for f := range t.Fields() {
		if f.Anonymous {
			describe(f.Type, properties, required)
			continue
		}
		name, option, _ := strings.Cut(f.Tag.Get("json"), ",")
		property := object{"description": f.Tag.Get("doc")}
		maps.Copy(property, forms[f.Tag.Get("schema")])
		properties[name] = property
		if option != "omitempty" {
			*required = append(*required, name)
		}
	}
}

// compiled are the schemas, ready to be used.
var compiled = sync.OnceValues(func() (map[Type]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out := map[Type]*jsonschema.Schema{}
	for _, t := range Types() {
		document, err := plain(Schema(t))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource("urn:"+t.Wire(), document); err != nil {
			return nil, err
		}
		if out[t], err = c.Compile("urn:" + t.Wire()); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// plain turns a schema into what the compiler reads.
func plain(schema map[string]any) (any, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
}

func validate(t Type, data []byte) error {
	schemas, err := compiled()
	if err != nil {
		return fmt.Errorf("schema of %q: %w", t, err)
	}
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(string(data)))
	if err != nil {
		return fmt.Errorf("data of %q is not JSON: %s", t, oneLine(err))
	}
	if err := schemas[t].Validate(value); err != nil {
		return fmt.Errorf("data of %q: %s", t, oneLine(err))
	}
	return nil
}
