package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

const top = "../.." // of the source tree

func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	checked := 0
	for _, document := range documents(t) {
		text := withoutCode(readText(t, document))
		for _, found := range link.FindAllStringSubmatch(text, -1) {
			target := found[1]
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue
			}
			checked++
			file, anchor, _ := strings.Cut(target, "#")
			path := document
			if file != "" {
				path = filepath.Join(filepath.Dir(document), file)
			}
			switch _, err := os.Stat(path); {
			case err != nil:
				t.Errorf("%s links to %q: %v", document, target, err)
			case anchor != "" && !anchors(readText(t, path))[anchor]:
				t.Errorf("%s links to %q: no heading and no id there is %q", document, target, anchor)
			}
		}
	}
	if checked < 100 {
		t.Errorf("only %d links were checked", checked)
	}
}

func TestEveryPageIsListedInTheIndex(t *testing.T) {
	index := readText(t, top+"/docs/README.md")
	pages, err := filepath.Glob(top + "/docs/*.md")
	if err != nil || len(pages) < 10 {
		t.Fatalf("%d pages (%v)", len(pages), err)
	}
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" && !strings.Contains(index, "]("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}

// A person searches docs/troubleshooting.md for the text that a program printed. Each line of
// its blocks of the kind "text" has to be a part of a text in the sources; "…" stands for
// what differs.
func TestTroubleshootingQuotesTheTextsOfThePrograms(t *testing.T) {
	const page = top + "/docs/troubleshooting.md"
	block := regexp.MustCompile("(?s)```text\n(.*?)```")
	printed := textsInSources(t)
	blocks := block.FindAllStringSubmatch(readText(t, page), -1)
	if len(blocks) < 20 {
		t.Fatalf("%s has %d blocks of texts", page, len(blocks))
	}
	for _, b := range blocks {
		for quoted := range strings.Lines(b[1]) {
			for part := range strings.SplitSeq(strings.TrimSpace(quoted), "…") {
				if part = strings.TrimSpace(part); !strings.Contains(printed, part) {
					t.Errorf("docs/troubleshooting.md quotes %q, which no program prints: change it there together with the text", part)
				}
			}
		}
	}
}

// Some hints name the section of docs/troubleshooting.md that says more.
func TestSectionsThatHintsNameExist(t *testing.T) {
	known := anchors(readText(t, top+"/docs/troubleshooting.md"))
	named := regexp.MustCompile(`docs/troubleshooting\.md#([a-z-]+)`).FindAllStringSubmatch(textsInSources(t), -1)
	for _, section := range named {
		if !known[section[1]] {
			t.Errorf("a text names docs/troubleshooting.md#%s, which does not exist", section[1])
		}
	}
	if len(named) < 4 {
		t.Errorf("only %d sections are named", len(named))
	}
}

// The README's numbers are those of the run that docs/performance.md shows.
func TestMeasuredNumbersAreThoseOfTheRun(t *testing.T) {
	block := regexp.MustCompile("(?s)<!-- measured -->\n(.*?)<!-- end -->").FindStringSubmatch(readText(t, top+"/README.md"))
	if block == nil {
		t.Fatal("README.md has no block of measured numbers")
	}
	number := regexp.MustCompile(`\d+\.\d+ s|\d+ of \d+`)
	run := readText(t, top+"/docs/performance.md")
	found := number.FindAllString(block[1], -1)
	for _, n := range found {
		if !strings.Contains(run, n) {
			t.Errorf("README.md says %q, and docs/performance.md does not", n)
		}
	}
	if len(found) < 9 {
		t.Errorf("only %d numbers were compared", len(found))
	}
}

// documents are the Markdown files of the project.
func documents(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, pattern := range []string{"*.md", "docs/*.md", ".github/*.md", "test/lab/*.md"} {
		found, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, found...)
	}
	return out
}

func readText(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

var (
	fenced = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	inline = regexp.MustCompile("`[^`\n]*`")
)

// withoutCode drops what a reader's browser shows as code, where brackets are no links.
func withoutCode(text string) string {
	return inline.ReplaceAllString(fenced.ReplaceAllString(text, ""), "")
}

var (
	heading    = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	explicitID = regexp.MustCompile(`<a id="([^"]+)">`)
	notInSlug  = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the places of a document that a link can name: its explicit ids, and its
// headings as GitHub names them.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, found := range explicitID.FindAllStringSubmatch(text, -1) {
		out[found[1]] = true
	}
	for _, found := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		slug := notInSlug.ReplaceAllString(strings.ToLower(strings.TrimSpace(found[1])), "")
		out[strings.ReplaceAll(slug, " ", "-")] = true
	}
	return out
}

// textsInSources are the texts of the product's own sources, one after the other. Texts that
// are joined by "+" are one.
func textsInSources(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	for _, directory := range []string{"cmd", "pkg", "plugin", "watcher"} {
		err := filepath.WalkDir(filepath.Join(top, directory), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				expression, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, ok := constantText(expression)
				if ok {
					all.WriteString(text + "\n\x00\n")
				}
				return !ok
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return all.String()
}

// constantText is the text of a literal, or of several that are joined by "+".
func constantText(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok := constantText(e.X)
		right, also := constantText(e.Y)
		return left + right, ok && also && e.Op == token.ADD
	}
	return "", false
}
