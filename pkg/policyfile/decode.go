package policyfile

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

type position struct{ line, column int }

func place(n ast.Node) position {
	if t := n.GetToken(); t != nil && t.Position != nil {
		return position{t.Position.Line, t.Position.Column}
	}
	return position{}
}

// decoder fills in a value from YAML and remembers where each field stood.
type decoder struct {
	at    map[string]position
	found Errors
}

func (d *decoder) fail(n ast.Node, field, format string, args ...any) {
	p := place(n)
	d.found = append(d.found, &Error{Line: p.line, Column: p.column, Field: field, Message: fmt.Sprintf(format, args...)})
}

// report notes what is wrong with a field that was read; where it is not in the file,
// with what it would be in.
func (d *decoder) report(field, format string, args ...any) {
	e := &Error{Field: field, Message: fmt.Sprintf(format, args...)}
	for at := field; ; {
		if p, known := d.at[at]; known {
			e.Line, e.Column = p.line, p.column
			break
		}
		cut := strings.LastIndexAny(at, ".[")
		if cut < 0 {
			break
		}
		at = at[:cut]
	}
	d.found = append(d.found, e)
}

func (d *decoder) decode(n ast.Node, into reflect.Value, field string) {
	if field != "" {
		d.at[field] = place(n)
	}
	switch n := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.fail(n, field, "anchors, aliases and tags are not understood: write it out")
		return
	case *ast.NullNode:
		d.fail(n, field, "has no value: leave it out, or give it one")
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.decode(n, into.Elem(), field)
	case reflect.Struct:
		d.object(n, into, field)
	case reflect.Map:
		d.labels(n, into, field)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			d.fail(n, field, "want a list, not %s", kind(n))
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list.Values), len(list.Values)))
		for i, v := range list.Values {
			d.decode(v, into.Index(i), fmt.Sprintf("%s[%d]", field, i))
		}
	default:
		d.scalar(n, into, field)
	}
}

func (d *decoder) scalar(n ast.Node, into reflect.Value, field string) {
	text, ok := scalarText(n)
	if !ok {
		d.fail(n, field, "want a single value, not %s", kind(n))
		return
	}
	switch into.Kind() {
	case reflect.Bool:
		b, is := n.(*ast.BoolNode)
		if !is {
			d.fail(n, field, "%q: want true or false", text)
			return
		}
		into.SetBool(b.Value)
	case reflect.Int:
		i, err := strconv.Atoi(text)
		if _, is := n.(*ast.IntegerNode); !is || err != nil {
			d.fail(n, field, "%q: want a whole number", text)
			return
		}
		into.SetInt(int64(i))
	default:
		into.SetString(text)
	}
}

// scalarText is a single value as it was written: 20% and 0.2 are both texts to us.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// entries are the fields of a mapping, each once.
func (d *decoder) entries(n ast.Node, field string) (out []*ast.MappingValueNode, ok bool) {
	switch n := n.(type) {
	case *ast.MappingNode:
		out = n.Values
	case *ast.MappingValueNode:
		out = []*ast.MappingValueNode{n}
	default:
		d.fail(n, field, "want fields, not %s", kind(n))
		return nil, false
	}
	seen := map[string]bool{}
	for _, e := range out {
		if name, _ := keyText(e); seen[name] {
			d.fail(e.Key, join(field, name), "is there twice")
		} else {
			seen[name] = true
		}
	}
	return out, true
}

func keyText(e *ast.MappingValueNode) (string, bool) {
	if k, ok := e.Key.(ast.Node); ok {
		return scalarText(k)
	}
	return "", false
}

func (d *decoder) labels(n ast.Node, into reflect.Value, field string) {
	entries, ok := d.entries(n, field)
	if !ok {
		return
	}
	into.Set(reflect.MakeMap(into.Type()))
	for _, e := range entries {
		name, _ := keyText(e)
		value := reflect.New(into.Type().Elem()).Elem()
		d.decode(e.Value, value, join(field, name))
		into.SetMapIndex(reflect.ValueOf(name), value)
	}
}

func (d *decoder) object(n ast.Node, into reflect.Value, field string) {
	entries, ok := d.entries(n, field)
	if !ok {
		return
	}
	known := fields(into)
	for _, e := range entries {
		name, ok := keyText(e)
		if !ok {
			d.fail(e.Key, field, "want the name of a field")
			continue
		}
		target, ok := known[name]
		if !ok {
			d.fail(e.Key, join(field, name), "%s", unknown("field", name, keys(known)))
			continue
		}
		d.decode(e.Value, target, join(field, name))
	}
}

// fields are those of a struct and of what it embeds, by their names in the file.
func fields(v reflect.Value) map[string]reflect.Value {
	out := map[string]reflect.Value{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if f.Anonymous {
			for name, inner := range fields(v.Field(i)) {
				out[name] = inner
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		out[name] = v.Field(i)
	}
	return out
}

func keys[V any](m map[string]V) []string {
	var out []string
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// unknown says that there is no such name, which was probably meant, and all there are.
func unknown(what, name string, known []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, k := range known {
		if d := certs.EditDistance(strings.ToLower(name), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best != "" && len(name) < 100 {
		return fmt.Sprintf("unknown %s %q, did you mean %q?", what, name, best)
	}
	return fmt.Sprintf("unknown %s %q, want one of: %s", what, name, strings.Join(known, ", "))
}

func join(field, name string) string {
	if field == "" {
		return name
	}
	return field + "." + name
}

// kind names what a node is, for people.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.SequenceNode:
		return "a list"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "fields"
	}
	if text, ok := scalarText(n); ok {
		return strconv.Quote(text)
	}
	return "this"
}
