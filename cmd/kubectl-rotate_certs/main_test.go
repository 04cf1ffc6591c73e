package main

import (
	"bufio"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestMain is the program itself where a test starts it as such.
func TestMain(m *testing.M) {
	if os.Getenv("ROTATE_CERTS_TEST_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

// silent is a kubeconfig whose API server takes connections and answers nothing; asked is
// closed at the first one.
func silent(t *testing.T) (kubeconfig string, asked chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	asked = make(chan struct{})
	go func() {
		for first := true; ; first = false {
			if _, err := l.Accept(); err != nil {
				return
			}
			if first {
				close(asked)
			}
		}
	}()
	kubeconfig = filepath.Join(t.TempDir(), "kubeconfig")
	require.NoError(t, os.WriteFile(kubeconfig, []byte(`{"apiVersion": "v1", "kind": "Config", "current-context": "x",
"contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {"token": "x"}}],
"clusters": [{"name": "x", "cluster": {"server": "http://`+l.Addr().String()+`"}}]}`), 0o600))
	return kubeconfig, asked
}

// A terminal that is closed sends SIGHUP, often twice: from the kernel and from the shell.
func TestAClosedTerminalEndsInAnOrderlyWay(t *testing.T) {
	kubeconfig, asked := silent(t)
	self, err := os.Executable()
	require.NoError(t, err)
	program := exec.CommandContext(t.Context(), self, "check")
	program.Env = append(os.Environ(), "ROTATE_CERTS_TEST_MAIN=yes", "KUBECONFIG="+kubeconfig)
	stderr, err := program.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, program.Start())
	select {
	case <-asked:
	case <-time.After(20 * time.Second):
		t.Fatal("the API server was not asked")
	}
	require.NoError(t, program.Process.Signal(syscall.SIGHUP))
	require.NoError(t, program.Process.Signal(syscall.SIGHUP))
	var said []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said = append(said, lines.Text())
	}
	err = program.Wait()
	var exit *exec.ExitError
	require.True(t, errors.As(err, &exit), "%v", err)
	assert.Equal(t, 130, exit.ExitCode(), "%v", err)
	assert.Contains(t, strings.Join(said, "\n"), "interrupted before anything was changed")
	assert.NotContains(t, strings.Join(said, "\n"), "stopped at once")
}
