package architecture

import (
	"fmt"
	"go/ast"
	"go/token"
)

// namedValue is a constant or variable that is declared outside functions.
type namedValue struct {
	packageName string
	name        string
	where       string
	kind        ast.Expr // nil: that of its value
	value       ast.Expr // nil: none
}

// collectValues collects what a file declares outside functions.
func (s *source) collectValues(file *ast.File, positions *token.FileSet) {
	for _, d := range file.Decls {
		general, ok := d.(*ast.GenDecl)
		if !ok || general.Tok != token.CONST && general.Tok != token.VAR {
			continue
		}
		for _, spec := range general.Specs {
			spec := spec.(*ast.ValueSpec)
			for i, name := range spec.Names {
				v := namedValue{packageName: file.Name.Name, name: name.Name, kind: spec.Type, where: fmt.Sprint(positions.Position(name.Pos()))}
				if i < len(spec.Values) {
					v.value = spec.Values[i]
				}
				s.values = append(s.values, v)
			}
		}
	}
}

// namedDurations lists the durations that have a name outside functions, with the place of each:
// by their type, or made of units of time or of each other.
func (s *source) namedDurations() []string {
	known := map[string]bool{"time.Duration": true}
	for _, unit := range []string{"Nanosecond", "Microsecond", "Millisecond", "Second", "Minute", "Hour"} {
		known["time."+unit] = true
	}
	var found []string
	counted := map[string]bool{}
	for again := true; again; {
		again = false
		for _, v := range s.values {
			if counted[v.where] || !isDuration(v.kind, v.packageName, known) && !isDuration(v.value, v.packageName, known) {
				continue
			}
			counted[v.where] = true
			known[v.packageName+"."+v.name] = true
			found = append(found, v.where+" "+v.name)
			again = true
		}
	}
	return found
}

// isDuration says whether an expression of a package is a duration, its type, or a conversion to
// it. Calls of other functions and composite values are none.
func isDuration(e ast.Expr, packageName string, known map[string]bool) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return known[packageName+"."+e.Name]
	case *ast.SelectorExpr:
		return known[exprText(e)]
	case *ast.BinaryExpr:
		return isDuration(e.X, packageName, known) || isDuration(e.Y, packageName, known)
	case *ast.UnaryExpr:
		return isDuration(e.X, packageName, known)
	case *ast.ParenExpr:
		return isDuration(e.X, packageName, known)
	case *ast.CallExpr:
		return exprText(e.Fun) == "time.Duration"
	}
	return false
}
