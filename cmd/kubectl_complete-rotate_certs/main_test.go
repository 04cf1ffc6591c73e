package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestMain lets this test's program stand in for the plugin: called by its
// name, it prints the words that it was given, and fails in its own way.
func TestMain(m *testing.M) {
	if strings.HasPrefix(filepath.Base(os.Args[0]), "kubectl-rotate_certs") {
		fmt.Printf("%q\n", os.Args[1:])
		os.Exit(3)
	}
	os.Exit(m.Run())
}

func TestCompletion(t *testing.T) {
	words := []string{"--service", "etcd", ""}
	asked := `["__complete" "--service" "etcd" ""]` + "\n"

	for _, test := range []struct {
		name                string
		pluginBeside        bool
		pluginOnPath        bool
		throughLink         bool
		wantStdout, wantErr string
		wantExit            int
	}{
		{name: "plugin beside it", pluginBeside: true, wantStdout: asked, wantExit: 3},
		{name: "called through a link", pluginBeside: true, throughLink: true, wantStdout: asked, wantExit: 3},
		{name: "plugin on the search path", pluginOnPath: true, wantStdout: asked, wantExit: 3},
		{name: "no plugin", wantErr: "put kubectl-rotate_certs on PATH", wantExit: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			beside, path, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
			program := build(t, beside)
			if test.pluginBeside {
				installPlugin(t, beside)
			}
			if test.pluginOnPath {
				installPlugin(t, path)
			}
			if test.throughLink {
				link := filepath.Join(elsewhere, filepath.Base(program))
				if err := os.Symlink(program, link); err != nil {
					t.Fatal(err)
				}
				program = link
			}

			var stdout, stderr bytes.Buffer
			command := exec.Command(program, words...)
			command.Env = append(os.Environ(), "PATH="+path)
			command.Stdout, command.Stderr = &stdout, &stderr
			var exit *exec.ExitError
			if err := command.Run(); !errors.As(err, &exit) || exit.ExitCode() != test.wantExit {
				t.Errorf("exit = %v, want %d", err, test.wantExit)
			}
			if stdout.String() != test.wantStdout {
				t.Errorf("stdout = %q, want %q", stdout.String(), test.wantStdout)
			}
			if !strings.Contains(stderr.String(), test.wantErr) || (test.wantErr == "" && stderr.Len() > 0) {
				t.Errorf("stderr = %q, want %q", stderr.String(), test.wantErr)
			}
		})
	}
}

// build compiles this program into a directory.
func build(t *testing.T, directory string) string {
	t.Helper()
	program := filepath.Join(directory, "kubectl_complete-rotate_certs"+extension())
	if out, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return program
}

// installPlugin puts the stand-in for the plugin into a directory.
func installPlugin(t *testing.T, directory string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "kubectl-rotate_certs"+extension()), content, 0o700); err != nil {
		t.Fatal(err)
	}
}

func extension() string {
	if runtime.GOOS == "windows" {
		return ".exe"
	}
	return ""
}
