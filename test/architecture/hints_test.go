package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// An error and its hint are two values: package hint alone, and that of the lab, know how they are
// printed. Tests compare what is printed.
func TestHintsAreNotPartOfErrorTexts(t *testing.T) {
	files := 0
	for _, directory := range []string{"cmd", "pkg", "plugin", "watcher", "test"} {
		err := filepath.WalkDir(filepath.Join(top, directory), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || filepath.Base(filepath.Dir(path)) == "hint" {
				return err
			}
			files++
			positions := token.NewFileSet()
			file, err := parser.ParseFile(positions, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, at := range findHints(file) {
				t.Errorf("%s: a text holds a hint: use package hint", positions.Position(at))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 300 {
		t.Errorf("only %d files were read", files)
	}
}

func TestFindHints(t *testing.T) {
	positions := token.NewFileSet()
	source := "package x\n\nvar a = \"failed\\nhint: try again\"\nvar b = `hint:` + a\n\n// \"hint: c\"\nvar c struct{ d string `json:\"hint\"` }\n"
	file, err := parser.ParseFile(positions, "x.go", source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	found := findHints(file)
	if len(found) != 2 || positions.Position(found[0]).Line != 3 || positions.Position(found[1]).Line != 4 {
		t.Errorf("found %v", found)
	}
}

// findHints finds the literals that hold a hint as it is printed.
func findHints(file *ast.File) []token.Pos {
	var found []token.Pos
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok {
			if text, ok := constantText(literal); ok && strings.Contains(text, "hint:") {
				found = append(found, literal.Pos())
			}
		}
		return true
	})
	return found
}
