package policyfile

import (
	"cmp"
	"errors"
	"reflect"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Parse reads a policy file. What is wrong with it is an [Errors].
func Parse(data []byte) (*File, error) {
	root, err := document(data)
	if err != nil {
		return nil, err
	}
	d := decoder{at: map[string]position{}}
	var f File
	d.decode(root, reflect.ValueOf(&f).Elem(), "")
	if len(d.found) == 0 {
		compile(&f, d.report)
	}
	if len(d.found) > 0 {
		slices.SortStableFunc(d.found, func(a, b *Error) int { return cmp.Or(a.Line-b.Line, a.Column-b.Column) })
		return nil, d.found
	}
	return &f, nil
}

// document returns the one document of a file.
func document(data []byte) (ast.Node, error) {
	parsed, err := parser.ParseBytes(data, 0)
	if err != nil {
		e := &Error{Message: err.Error()}
		var syntax *yaml.SyntaxError
		if errors.As(err, &syntax) {
			e.Message = syntax.Message
			if syntax.Token != nil && syntax.Token.Position != nil {
				e.Line, e.Column = syntax.Token.Position.Line, syntax.Token.Position.Column
			}
		}
		return nil, Errors{e}
	}
	var root ast.Node
	for _, doc := range parsed.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.NullType || doc.Body.Type() == ast.CommentType {
			continue
		}
		if root != nil {
			p := place(doc.Body)
			return nil, Errors{{Line: p.line, Column: p.column, Message: "a second document; want one"}}
		}
		root = doc.Body
	}
	if root == nil {
		return nil, Errors{{Message: "the file is empty\nwant at least: apiVersion: " + APIVersion + ", kind: " + Kind}}
	}
	return root, nil
}
