package openapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
)

type object = map[string]any

// described is a type with a JSON form of its own.
type described interface{ JSONSchema() map[string]any }

// Values are the values of text types, by type.
type Values map[reflect.Type][]string

// schemas collects the schemas of named structs.
type schemas struct {
	values     Values
	components object
	names      map[string]reflect.Type
}

// ofType is the schema of a type, as encoding/json writes it. A named struct is a reference.
func (s *schemas) ofType(t reflect.Type) object {
	if out, own := ownForm(t); own {
		return out
	}
	switch t.Kind() {
	case reflect.Pointer:
		return orNull(s.ofType(t.Elem()))
	case reflect.String:
		if values := s.values[t]; values != nil {
			return object{"type": "string", "enum": values}
		}
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice:
		return orNull(object{"type": "array", "items": s.ofType(t.Elem())}) // nil is null
	case reflect.Map:
		return orNull(object{"type": "object", "additionalProperties": s.ofType(t.Elem())})
	case reflect.Struct:
		return s.ofStruct(t)
	}
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		return object{"type": "integer"}
	}
	panic(fmt.Sprintf("no schema for %s", t))
}

// ownForm is the schema of a type that does not have the JSON form of its kind.
func ownForm(t reflect.Type) (object, bool) {
	if t == reflect.TypeFor[time.Time]() {
		return object{"type": "string", "format": "date-time"}, true
	}
	if t.Implements(reflect.TypeFor[described]()) {
		return reflect.Zero(t).Interface().(described).JSONSchema(), true //nolint:errorlint // it is no error, and Implements has checked it
	}
	if t.Kind() == reflect.Struct && t.NumField() == 1 && t.Field(0).Type == reflect.TypeFor[time.Time]() { // metav1.Time
		return object{"type": []string{"string", "null"}, "format": "date-time"}, true
	}
	for _, custom := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
		if t.Kind() != reflect.Pointer && t.Implements(custom) {
			panic(fmt.Sprintf("%s has a form of its own: give it a method JSONSchema", t))
		}
	}
	return nil, false
}

// orNull is a schema that null matches, too.
func orNull(of object) object {
	if kind, is := of["type"].(string); is && of["enum"] == nil {
		out := maps.Clone(of)
		out["type"] = []string{kind, "null"}
		return out
	}
	return object{"anyOf": []any{of, object{"type": "null"}}}
}

// ofStruct is a reference to a named struct, which becomes a component.
func (s *schemas) ofStruct(t reflect.Type) object {
	name := componentName(t)
	if s.names[name] == nil {
		s.names[name] = t
		s.components[name] = s.describeStruct(t)
	}
	if s.names[name] != t {
		panic(fmt.Sprintf("%s and %s are both named %s", t, s.names[name], name))
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// componentName is the name of a type without those of packages.
func componentName(t reflect.Type) string {
	name, of, generic := strings.Cut(t.Name(), "[")
	name = upperFirst(strings.TrimPrefix(name, "api"))
	if generic {
		of = strings.TrimSuffix(of, "]")
		of = of[strings.LastIndex(of, ".")+1:]
		name += "Of" + upperFirst(strings.TrimPrefix(of, "api"))
	}
	return name
}

// closeType makes the schema of a body refuse unknown fields.
func (s *schemas) closeType(t reflect.Type) {
	s.ofType(t)
	if component, is := s.components[componentName(t)].(object); is {
		component["additionalProperties"] = false
	}
}

func upperFirst(name string) string { return strings.ToUpper(name[:1]) + name[1:] }

// field is a field of a struct in JSON.
type field struct {
	name     string
	optional bool
	text     string
	of       reflect.Type
}

func (s *schemas) describeStruct(t reflect.Type) object {
	properties := object{}
	required := []string{}
	for _, f := range fieldsOf(t) {
		property := s.ofType(f.of)
		if f.optional { // it is left out where it would be null
			property = s.ofType(withoutPointer(f.of))
			property = withoutNull(property)
		} else {
			required = append(required, f.name)
		}
		if f.text != "" {
			property = maps.Clone(property)
			property["description"] = f.text
		}
		properties[f.name] = property
	}
	slices.Sort(required)
	return object{"type": "object", "properties": properties, "required": required}
}

func withoutPointer(t reflect.Type) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return t
}

// withoutNull is a schema that null does not match.
func withoutNull(of object) object {
	kinds, is := of["type"].([]string)
	if !is {
		return of
	}
	out := maps.Clone(of)
	out["type"] = kinds[0]
	return out
}

// fieldsOf are the fields of a struct as encoding/json has them: of embedded structs, too, unless a
// field that is less deep has the same name.
func fieldsOf(t reflect.Type) []field {
	var own []field
	var embedded []field
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case f.Anonymous && name == "":
			embedded = append(embedded, fieldsOf(withoutPointer(f.Type))...)
		case f.IsExported():
			if name == "" {
				name = f.Name
			}
			optional := slices.ContainsFunc(strings.Split(options, ","), func(o string) bool { return o == "omitempty" || o == "omitzero" })
			own = append(own, field{name: name, optional: optional, text: f.Tag.Get("doc"), of: f.Type})
		}
	}
	for _, e := range embedded {
		if !slices.ContainsFunc(own, func(o field) bool { return o.name == e.name }) {
			own = append(own, e)
		}
	}
	return own
}
