package architecture

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Documents name the test that shows a promise. Each part of such a pattern has to match a
// test in one of the packages that the command names.
func TestDocumentedTestsExist(t *testing.T) {
	testCommand := regexp.MustCompile(`go test [^` + "`" + `]*?-run '?([^' ` + "`" + `]+)'?((?: \./[a-z0-9/_-]+)+)`)
	labCommand := regexp.MustCompile(`make (?:e2e|e2e-etcd|e2e-odd|e2e-shapes|e2e-systemd|e2e-upgrade) RUN='?([A-Za-z0-9_|/\\]+)`)
	checked := 0
	for _, document := range documents(t) {
		text := readText(t, document)
		for _, found := range testCommand.FindAllStringSubmatch(text, -1) {
			checked += checkPatterns(t, document, found[1], strings.Fields(found[2]))
		}
		for _, found := range labCommand.FindAllStringSubmatch(text, -1) {
			checked += checkPatterns(t, document, found[1], []string{"./test/e2e"})
		}
	}
	if checked < 50 {
		t.Errorf("only %d patterns were checked", checked)
	}
}

// checkPatterns checks each part of a pattern for -run, and returns how many there are. TestName
// and TestShapeName in an example stand for any test.
func checkPatterns(t *testing.T, document, pattern string, packages []string) int {
	t.Helper()
	checked := 0
	for part := range strings.SplitSeq(strings.ReplaceAll(pattern, `\|`, "|"), "|") {
		test, _, _ := strings.Cut(part, "/")
		if test == "TestName" || test == "TestShapeName" {
			continue
		}
		checked++
		matches, err := regexp.Compile("(?m)" + test)
		if err != nil {
			t.Errorf("%s has the pattern %q: %v", document, part, err)
			continue
		}
		if !matches.MatchString(testsOf(t, packages)) {
			t.Errorf("%s names the test %q, and %s has none of that name", document, part, strings.Join(packages, ", "))
		}
	}
	return checked
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testsOf are the names of the tests of packages, one a line.
func testsOf(t *testing.T, packages []string) string {
	t.Helper()
	var out strings.Builder
	for _, p := range packages {
		if _, known := testsByPackage[p]; !known {
			testsByPackage[p] = readTests(t, p)
		}
		out.WriteString(testsByPackage[p])
	}
	return out.String()
}

// testsByPackage holds what readTests found: documents name the same packages again and again.
var testsByPackage = map[string]string{}

func readTests(t *testing.T, directory string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(top, directory, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Errorf("%s has no tests (%v)", directory, err)
	}
	var out strings.Builder
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range testFunction.FindAllSubmatch(data, -1) {
			out.Write(found[1])
			out.WriteString("\n")
		}
	}
	return out.String()
}
