//go:build linux

package agent

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// TestConfine confines a process of its own: there is no way back.
func TestConfine(t *testing.T) {
	socket := os.Getenv("CONFINED")
	if socket == "" {
		path := filepath.Join(t.TempDir(), "s")
		l, err := net.Listen("unix", path)
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestConfine$", "-test.v")
		child.Env = append(os.Environ(), "CONFINED="+path)
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}

	conn, err := net.Dial("unix", socket)
	require.NoError(t, err, "before")
	_ = conn.Close()

	require.NoError(t, Confine())

	for range 20 { // on whatever thread
		done := make(chan error)
		go func() { _, err := net.Dial("unix", socket); done <- err }()
		assert.ErrorIs(t, <-done, unix.EPERM)
	}
	_, err = net.Dial("unixgram", socket)
	assert.ErrorIs(t, err, unix.EPERM)
	assert.ErrorIs(t, exec.CommandContext(t.Context(), "/bin/true").Run(), unix.EPERM)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err, "what an agent needs still works")
	defer func() { _ = l.Close() }()
	tcp, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_ = tcp.Close()
}
