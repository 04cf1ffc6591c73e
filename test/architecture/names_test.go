package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// The limits that keep names and comments readable, and the number of named durations: a reader
// who searches for a timeout has to know them apart. Tests, generated code and the code that
// only tests use are not counted.
const (
	minWordsPerName    = 2.0  // of functions, methods included
	maxOneWordNames    = 0.35 // share
	maxVaguePer1000    = 3.0  // of the words of comments
	maxSameNamePackage = 3    // packages that have an unexported function of one name
	maxNamedDurations  = 60   // constants and variables outside functions
)

// vague are words that stand for an actor or a thing without naming it.
var vague = regexp.MustCompile(`(?i)\b(what|who|whom|whose|whoever|nobody|somebody|someone|everybody|everyone|anybody|anyone)\b`)

// source is what is counted of the product's code.
type source struct {
	functions    int
	words        int
	oneWord      int
	commentWords int
	vague        int
	parallel     []string            // assignments of several values at once
	packagesOf   map[string][]string // unexported functions
	values       []namedValue
}

func TestNamesAndCommentsKeepTheLimits(t *testing.T) {
	s := source{packagesOf: map[string][]string{}}
	for _, directory := range []string{"cmd", "pkg", "plugin", "watcher"} {
		s.readAll(t, "../../"+directory)
	}
	if s.functions < 1000 {
		t.Fatalf("%d functions: something is wrong with this test", s.functions)
	}
	words, oneWord := float64(s.words)/float64(s.functions), float64(s.oneWord)/float64(s.functions)
	unclear := 1000 * float64(s.vague) / float64(s.commentWords)
	t.Logf("%d functions, %.2f words per name, %.0f %% of one word; %.1f vague words per 1,000 of comments", s.functions, words, 100*oneWord, unclear)
	if words < minWordsPerName || oneWord > maxOneWordNames {
		t.Errorf("function names have %.2f words (at least %.1f), and %.0f %% have one (at most %.0f %%)", words, minWordsPerName, 100*oneWord, 100*maxOneWordNames)
	}
	if unclear > maxVaguePer1000 {
		t.Errorf("comments have %.1f of %q per 1,000 words (at most %.0f)", unclear, vague, maxVaguePer1000)
	}
	for _, where := range s.parallel {
		t.Errorf("%s: several values are assigned at once: one a line can be read, compared and commented", where)
	}
	if durations := s.namedDurations(); len(durations) > maxNamedDurations {
		t.Errorf("%d durations have a name (at most %d): write one that is used once where it is used, and share one that says the same elsewhere:\n%s",
			len(durations), maxNamedDurations, strings.Join(durations, "\n"))
	}
	for name, packages := range s.packagesOf {
		if len(packages) > maxSameNamePackage {
			t.Errorf("function %q is in %d packages (at most %d): %s", name, len(packages), maxSameNamePackage, strings.Join(packages, ", "))
		}
	}
}

func (s *source) readAll(t *testing.T, directory string) {
	t.Helper()
	err := filepath.WalkDir(directory, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasSuffix(entry.Name(), "test") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasPrefix(entry.Name(), "zz_generated") {
			return nil
		}
		return s.read(path)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (s *source) read(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	positions := token.NewFileSet()
	file, err := parser.ParseFile(positions, path, text, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, group := range file.Comments {
		comment := group.Text()
		s.commentWords += len(strings.Fields(comment))
		s.vague += len(vague.FindAllString(comment, -1))
	}
	s.collectValues(file, positions)
	directory := strings.TrimPrefix(filepath.Dir(path), "../../")
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			s.count(n, directory)
		case *ast.BlockStmt:
			s.findParallel(n.List, positions)
		case *ast.CaseClause:
			s.findParallel(n.Body, positions)
		case *ast.CommClause:
			s.findParallel(n.Body, positions)
		}
		return true
	})
	return nil
}

// findParallel finds assignments of several values among statements. Those at the head of
// an if, for or switch have no line of their own.
func (s *source) findParallel(statements []ast.Stmt, positions *token.FileSet) {
	for _, statement := range statements {
		if a, ok := statement.(*ast.AssignStmt); ok && assignsValues(a) {
			s.parallel = append(s.parallel, fmt.Sprint(positions.Position(a.Pos())))
		}
	}
}

func (s *source) count(f *ast.FuncDecl, directory string) {
	name := f.Name.Name
	if name == "main" || name == "init" {
		return
	}
	words := wordsOf(name)
	s.functions++
	s.words += words
	if words == 1 {
		s.oneWord++
	}
	if f.Recv == nil && !f.Name.IsExported() {
		for _, known := range s.packagesOf[name] {
			if known == directory {
				return
			}
		}
		s.packagesOf[name] = append(s.packagesOf[name], directory)
	}
}

// wordsOf counts the words of a name in camel case; an abbreviation is one word.
func wordsOf(name string) int {
	words := 0
	before := ' '
	for i, r := range name {
		next := rune(0)
		if rest := name[i+len(string(r)):]; rest != "" {
			next = []rune(rest)[0]
		}
		if i == 0 || unicode.IsUpper(r) && (!unicode.IsUpper(before) || unicode.IsLower(next)) {
			words++
		}
		before = r
	}
	return words
}

// assignsValues says whether an assignment gives several values at once that are not the
// results of one call. Two variables may change places.
func assignsValues(a *ast.AssignStmt) bool {
	if len(a.Lhs) < 2 || len(a.Rhs) < 2 {
		return false
	}
	return !swaps(a)
}

// swaps says whether the values are the variables in another order.
func swaps(a *ast.AssignStmt) bool {
	left := map[string]bool{}
	for _, e := range a.Lhs {
		left[exprText(e)] = true
	}
	for _, e := range a.Rhs {
		if !left[exprText(e)] {
			return false
		}
	}
	return true
}

func exprText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.SelectorExpr:
		return exprText(e.X) + "." + e.Sel.Name
	case *ast.IndexExpr:
		return exprText(e.X) + "[" + exprText(e.Index) + "]"
	case *ast.StarExpr:
		return "*" + exprText(e.X)
	}
	return fmt.Sprintf("%p", e)
}
