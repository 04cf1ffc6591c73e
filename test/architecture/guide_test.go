package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// guide is what a newcomer reads first; what it names must be there.
const guide = "../../CONTRIBUTING.md"

func TestTheGuideNamesFunctionsThatExist(t *testing.T) {
	noteSources(t)
	stop := regexp.MustCompile("(?m)^\\| \\d+ \\| `([^`]+)` \\| `([^`]+)` \\|")
	stops := stop.FindAllStringSubmatch(readGuide(t), -1)
	if len(stops) < 20 {
		t.Fatalf("%s follows a rotation over %d stops: something is wrong with this test", guide, len(stops))
	}
	for _, s := range stops {
		if !declares(t, filepath.Join("../..", s[1]), s[2]) {
			t.Errorf("%s sends readers to %s in %s, which has no such function", guide, s[2], s[1])
		}
	}
}

func TestTheGuideNamesPathsThatExist(t *testing.T) {
	path := regexp.MustCompile("(?:^|[ `])((?:cmd|plugin|watcher|pkg|test|docs|deploy)/[A-Za-z0-9_./{},*-]*[A-Za-z0-9_/}*])")
	for _, found := range path.FindAllStringSubmatch(readGuide(t), -1) {
		for _, name := range expanded(found[1]) {
			if matches, err := filepath.Glob(filepath.Join("../..", name)); err != nil || len(matches) == 0 {
				t.Errorf("%s names %q, which does not exist", guide, name)
			}
		}
	}
}

func readGuide(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// declares says whether a file declares a function or method of that name.
func declares(t *testing.T, path, name string) bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Error(err)
		return false
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Name.Name == name {
			return true
		}
	}
	return false
}

// expanded is a path with one list in braces, as a shell expands it.
func expanded(path string) []string {
	before, rest, ok := strings.Cut(path, "{")
	if !ok {
		return []string{path}
	}
	list, after, _ := strings.Cut(rest, "}")
	var out []string
	for _, one := range strings.Split(list, ",") {
		out = append(out, before+one+after)
	}
	return out
}
