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
	"service":      {"enum": serviceNames()},
	"services":     {"type": "array", "minItems": 1, "uniqueItems": true, "items": object{"enum": serviceNames()}},
	"serial":       {"type": "string", "pattern": "^-?[0-9a-f]+$"},
	"fingerprint":  {"type": "string", "pattern": "^[0-9a-f]{64}$"},
	"fingerprints": {"type": "array", "maxItems": 20000, "uniqueItems": true, "items": object{"type": "string", "pattern": "^[0-9a-f]{64}$"}},
	"restart":      {"enum": []any{"Always", "IfNeeded", "Never"}},
	"unavailable":  {"type": "string", "pattern": "^[1-9][0-9]*%?$"},
	"trigger":      {"enum": []any{ReasonExpiring, ReasonCompromised}},
	"attempt":      {"type": "integer", "minimum": 1, "maximum": 2147483647},
	"result":       {"enum": []any{ResultSucceeded, ResultRolledBack, ResultFailed, ResultManualInterventionRequired, ResultRefused, ResultCanceled}},
}

func serviceNames() []any {
	var out []any
	for _, s := range certs.Services() {
		out = append(out, string(s))
	}
	return out
}

// DataSchema is the JSON Schema (2020-12) of the data of a type; nil: the type does not exist.
// Unknown fields are refused: a mistyped "nodes" must not match every node.
func DataSchema(t Type) map[string]any {
	d := dataOf(t.WireName())
	if d == nil {
		return nil
	}
	properties := object{}
	required := []any{}
	describeFields(reflect.TypeOf(d), properties, &required)
	return object{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "urn:" + t.WireName(),
		"type": "object", "additionalProperties": false, "properties": properties, "required": required,
	}
}

// describeFields collects the fields of a struct and of its embedded structs.
func describeFields(t reflect.Type, properties object, required *[]any) {
	for f := range t.Fields() {
		if f.Anonymous {
			describeFields(f.Type, properties, required)
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

// compiled are the compiled schemas.
var compiled = sync.OnceValues(func() (map[Type]*jsonschema.Schema, error) {
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	out := map[Type]*jsonschema.Schema{}
	for _, t := range AllTypes() {
		document, err := plainJSON(DataSchema(t))
		if err != nil {
			return nil, err
		}
		if err := c.AddResource("urn:"+t.WireName(), document); err != nil {
			return nil, err
		}
		if out[t], err = c.Compile("urn:" + t.WireName()); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// plainJSON converts a schema for the compiler.
func plainJSON(schema map[string]any) (any, error) {
	raw, err := json.Marshal(schema)
	if err != nil {
		return nil, err
	}
	return jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
}

func validateData(t Type, data []byte) error {
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
