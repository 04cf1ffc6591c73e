package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// epoch is the time of every file in every archive: the earliest that a zip
// can hold.
var epoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// platform is an operating system and an architecture, as Go names them.
type platform struct{ os, arch string }

func (p platform) String() string { return p.os + "/" + p.arch }

// executable is the file name of a program on that platform.
func (p platform) executable(name string) string {
	if p.os == "windows" {
		return name + ".exe"
	}
	return name
}

// environment is what a build for the platform depends on, and nothing of the machine.
func (p platform) environment() []string {
	return []string{
		"GOOS=" + p.os, "GOARCH=" + p.arch, "CGO_ENABLED=0",
		"GOAMD64=v1", "GOARM64=v8.0", "GOEXPERIMENT=", "GOFIPS140=off", "GOFLAGS=", "GOWORK=off",
	}
}

// source is a source tree and the version that it is built as.
type source struct{ root, version string }

// path resolves a path that may be relative to the tree.
func (s source) path(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.root, path)
}

// build compiles programs of cmd/ for a platform into a directory. The result
// depends on the sources, the version and the Go release only: not on where
// the tree lies, on the commit, or on settings of the machine.
func (s source) build(ctx context.Context, target platform, directory string, programs ...string) error {
	args := []string{"build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w " + s.stamp(), "-o", directory + string(filepath.Separator)}
	for _, program := range programs {
		args = append(args, "./cmd/"+program)
	}
	_, err := s.goCommand(ctx, target.environment(), args...)
	if err != nil {
		return fmt.Errorf("build for %s: %w", target, err)
	}
	return nil
}

// imageOf is the name of a program's image that programs of this version ask for.
func (s source) imageOf(ctx context.Context, program string) (string, error) {
	out, err := s.goCommand(ctx, nil, "run", "-ldflags", s.stamp(), "./test/tools/imagename", program)
	if err != nil {
		return "", fmt.Errorf("ask for the name of the image of %s: %w", program, err)
	}
	return strings.TrimSpace(out), nil
}

// stamp is the linker flag that sets the version.
func (s source) stamp() string {
	return "-X github.com/rotate-certs/rotate-certs/pkg/version.Version=" + s.version
}

// commit names the commit that the tree is at, or says that it holds more than
// any commit does, or that it is no git checkout.
func (s source) commit(ctx context.Context) string {
	git := func(args ...string) (string, error) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", s.root}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	head, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "an unknown commit"
	}
	changes, err := git("status", "--porcelain", "--", "cmd", "deploy", "pkg", "plugin", "watcher", "go.mod", "go.sum", "LICENSE")
	if err != nil || changes != "" {
		return "changes on top of commit " + head
	}
	return "commit " + head
}

// goCommand runs go at the top of the tree, and returns its standard output.
func (s source) goCommand(ctx context.Context, env []string, args ...string) (string, error) {
	var stdout, stderr bytes.Buffer
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = s.root
	command.Env = append(os.Environ(), env...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		return "", fmt.Errorf("run go %s: %w\n%s", args[0], err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}
