// Command kubectl_complete-rotate_certs is what kubectl runs to complete
// "kubectl rotate-certs <tab>". It hands the words to the plugin's own hidden
// completion command. It is a program and not a symbolic link to the plugin
// because Windows archives cannot hold one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

func main() {
	plugin := exec.CommandContext(context.Background(), pluginPath(), append([]string{"__complete"}, os.Args[1:]...)...)
	plugin.Stdout = os.Stdout
	plugin.Stderr = os.Stderr
	err := plugin.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintf(os.Stderr, "error: run the plugin for completion: %v\nput kubectl-rotate_certs on PATH\n", err)
		os.Exit(1)
	}
}

// pluginPath is the plugin in the directory that this program really lies in,
// so that both are of one version; else whichever the search path finds.
func pluginPath() string {
	name := "kubectl-rotate_certs"
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	if self, err := os.Executable(); err == nil {
		if target, err := filepath.EvalSymlinks(self); err == nil {
			self = target
		}
		sibling := filepath.Join(filepath.Dir(self), name)
		if _, err := os.Stat(sibling); err == nil {
			return sibling
		}
	}
	return name
}
