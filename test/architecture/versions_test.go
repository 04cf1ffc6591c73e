package architecture

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The versions of Kubernetes that docs/compatibility.md calls tested are those that the lab builds.
func TestTestedVersionsAreThoseOfTheLab(t *testing.T) {
	makefile := regexp.MustCompile(`(?m)^VERSIONS +:= (.+)$`).FindStringSubmatch(readText(t, top+"/Makefile"))
	if makefile == nil {
		t.Fatal("the Makefile has no VERSIONS")
	}
	standard := builtVersion(t, "kubernetes/go.mod")
	var matrix []string
	for _, minor := range strings.Fields(makefile[1]) {
		built := standard
		if !strings.HasPrefix(standard, minor+".") {
			built = builtVersion(t, "versions/"+minor+".mod")
		}
		if !strings.HasPrefix(built, minor+".") {
			t.Errorf("the module for Kubernetes %s builds %s", minor, built)
		}
		matrix = append(matrix, built)
	}
	last := len(matrix) - 1
	page := readText(t, top+"/docs/compatibility.md")
	for _, want := range []string{
		standard + ", the default of the lab",
		fmt.Sprintf("`make matrix` is for %s and %s", strings.Join(matrix[:last], ", "), matrix[last]),
	} {
		if !strings.Contains(page, want) {
			t.Errorf("docs/compatibility.md does not say %q", want)
		}
	}
	modules, err := filepath.Glob(top + "/test/lab/build/versions/*.mod")
	if err != nil || len(modules) != last {
		t.Errorf("there are %d modules of earlier versions for %d in the matrix (%v)", len(modules), last, err)
	}
}

// builtVersion is the version of Kubernetes that a module of the lab requires.
func builtVersion(t *testing.T, module string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "test/lab/build", module))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`k8s\.io/kubernetes v(\S+)`).FindSubmatch(text)
	if found == nil {
		t.Fatalf("%s requires no k8s.io/kubernetes", module)
	}
	return string(found[1])
}
