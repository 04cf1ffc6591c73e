package architecture

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// privilegedCalls are those by which a program on a node changes something outside of
// itself, controls another process, or connects to a socket that makes it root.
// ".Name" is a method of whatever value.
var privilegedCalls = []string{
	"os.Chmod", "os.Chown", "os.Chtimes", "os.Create", "os.CreateTemp", "os.Lchown", "os.Link", "os.Mkdir", "os.MkdirAll", "os.MkdirTemp",
	"os.OpenFile", "os.OpenRoot", "os.Remove", "os.RemoveAll", "os.Rename", "os.StartProcess", "os.FindProcess", "os.Symlink", "os.Truncate", "os.WriteFile",
	"exec.Command", "exec.CommandContext", "syscall.Exec", "syscall.Kill",
	"unix.Chroot", "unix.Fchmod", "unix.Fchown", "unix.Fremovexattr", "unix.Fsetxattr", "unix.Kill", "unix.Lsetxattr", "unix.Mount", "unix.Open", "unix.Openat2", "unix.Prctl",
	"unix.Reboot", "unix.Setns", "unix.Setxattr", "unix.Syscall", "unix.Unmount", "unix.Unshare",
	"dbus.Dial", "grpc.NewClient", "landlock.V5", ".dialDocker",
	".Chown", ".KillUnitWithTarget", ".ResetFailedUnitContext", ".RestartUnitContext", ".StartTransientUnitContext", ".StartUnitContext", ".StopContainer", ".StopUnitContext",
	".restartContainer",
}

// onNodes are the directories of what runs on nodes as root.
var onNodes = []string{"cmd/rotate-certs-node", "pkg/node"}

// TestPrivilegedCallsAreDocumented compares docs/privileged.md with the sources: each file
// with such calls has a row that names them and says why, and no row is about others.
func TestPrivilegedCallsAreDocumented(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `([^`]+\\.go)` \\| ([^|]*) \\| ([^|]*) \\|$")
	documented := map[string]string{}
	for _, found := range row.FindAllStringSubmatch(readText(t, top+"/docs/privileged.md"), -1) {
		documented[found[1]] = found[2]
		if len(strings.Fields(found[3])) < 4 {
			t.Errorf("docs/privileged.md does not say why %s is privileged", found[1])
		}
	}
	inSources := callsOnNodes(t)
	if len(inSources) < 10 {
		t.Fatalf("only %d files have privileged calls: something is wrong with this test", len(inSources))
	}
	for _, file := range slices.Sorted(maps.Keys(inSources)) {
		if documented[file] != inSources[file] {
			t.Errorf("docs/privileged.md needs the row\n| `%s` | %s | why |\nand has %q", file, inSources[file], documented[file])
		}
		delete(documented, file)
	}
	for _, file := range slices.Sorted(maps.Keys(documented)) {
		t.Errorf("docs/privileged.md has a row for %s, which has no such call", file)
	}
}

// callsOnNodes are the privileged calls of each file, as the page lists them.
func callsOnNodes(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, directory := range onNodes {
		err := filepath.WalkDir(filepath.Join(top, directory), func(path string, e fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") {
				return err
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			if calls := callsOf(file); len(calls) > 0 {
				name, err := filepath.Rel(top, path)
				out[filepath.ToSlash(name)] = strings.Join(calls, " ")
				return err
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// callsOf are the privileged calls of a file, each once, in the order of their names.
func callsOf(file *ast.File) []string {
	found := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		name := "." + selector.Sel.Name
		if value, ok := selector.X.(*ast.Ident); ok && slices.Contains(privilegedCalls, value.Name+name) {
			name = value.Name + name
		}
		if slices.Contains(privilegedCalls, name) {
			found[fmt.Sprintf("`%s`", strings.TrimPrefix(name, "."))] = true
		}
		return true
	})
	return slices.Sorted(maps.Keys(found))
}
