//go:build linux

package crash

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// programs are the real ones.
type programs struct{ node, killat string }

// programsDir is where they are built, once for all tests.
var programsDir string

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "crash-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "make a directory for the programs:", err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	programsDir = dir
	return m.Run()
}

var buildOnce = sync.OnceValue(func() error {
	cmd := exec.Command("go", "build", "-o", programsDir, "./cmd/rotate-certs-node", "./test/crash/killat")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return readSources()
})

func buildPrograms(t *testing.T) programs {
	t.Helper()
	checkError(t, buildOnce())
	return programs{filepath.Join(programsDir, "rotate-certs-node"), filepath.Join(programsDir, "killat")}
}

// readSources reads the sources of the programs. go test caches a result while all files that
// the test has read are the same; it does not know the files that go build reads.
func readSources() error {
	list := exec.Command("go", "list", "-deps", "-f", "{{$dir := .Dir}}{{if not .Standard}}{{range .GoFiles}}{{$dir}}/{{.}}\n{{end}}{{end}}", "./cmd/rotate-certs-node", "./test/crash/killat")
	list.Dir = "../.."
	out, err := list.Output()
	if err != nil {
		return fmt.Errorf("go list: %w", err)
	}
	for path := range strings.FieldsSeq(string(out)) {
		if _, err := os.ReadFile(path); err != nil {
			return err
		}
	}
	return nil
}
