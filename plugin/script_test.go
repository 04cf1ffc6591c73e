package plugin_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/rotate-certs/rotate-certs/plugin"
)

// endAtOnce has programs that are built with the race detector not wait a second for more reports
// when they end.
const endAtOnce = "atexit_sleep_ms=0"

// TestMain makes the test binary the plugin too, so that scripts run the real main, and the node
// program of machines that are reached over ssh.
func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", endAtOnce); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){
		"kubectl-rotate_certs": func() {
			streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
			os.Exit(plugin.Main(os.Args[1:], streams, nil))
		},
		"stand-in-node": standInNode,
	})
}

// TestScripts covers what needs no cluster. Each script says in its first lines what
// it holds.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Setup: func(env *testscript.Env) error { env.Setenv("GORACE", endAtOnce); return nil },
		Dir:   "testdata/script", RequireExplicitExec: true, RequireUniqueNames: true, UpdateScripts: os.Getenv("UPDATE") != "",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// exits CODE ARG… runs the plugin and compares its exit code.
			"exits": exits,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: exits CODE ARG…")
	}
	err := ts.Exec("kubectl-rotate_certs", args[1:]...)
	code := 0
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = exit.ExitCode()
	case err != nil:
		ts.Fatalf("run the plugin: %v", err)
	}
	if want := args[0]; want != strconv.Itoa(code) {
		ts.Fatalf("exit code %d, want %s", code, want)
	}
}
