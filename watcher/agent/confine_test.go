//go:build linux

package agent

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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
		child.Env = append(os.Environ(), "CONFINED="+path, "HEALTH="+filepath.Join(t.TempDir(), "health"))
		out, err := child.CombinedOutput()
		require.NoError(t, err, "%s", out)
		return
	}

	conn, err := net.Dial("unix", socket)
	require.NoError(t, err, "before")
	_ = conn.Close()
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(socket), "file"), []byte("old"), 0o600), "before")

	health, err := OpenHealth(os.Getenv("HEALTH"), time.Minute)
	require.NoError(t, err)

	require.NoError(t, Confine())

	require.NoError(t, health.reported(nil), "its own file it may write")
	require.NoError(t, Ready(os.Getenv("HEALTH"), time.Now()))
	for range 20 { // on whatever thread
		done := make(chan error)
		go func() { _, err := net.Dial("unix", socket); done <- err }()
		assert.ErrorIs(t, <-done, unix.EPERM)
	}
	_, err = net.Dial("unixgram", socket)
	assert.ErrorIs(t, err, unix.EPERM)
	assert.ErrorIs(t, exec.CommandContext(t.Context(), "/bin/true").Run(), unix.EPERM)

	changesNothing(t, filepath.Dir(socket))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err, "what an agent needs still works")
	defer func() { _ = l.Close() }()
	tcp, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_ = tcp.Close()
}

// changesNothing tries every way to change a directory that nothing but the process itself
// protects, as a file system of its own below a read-only mount is not protected.
func changesNothing(t *testing.T, dir string) {
	t.Helper()
	file, fresh := filepath.Join(dir, "file"), filepath.Join(dir, "new")
	for name, try := range map[string]func() error{
		"write":    func() error { return os.WriteFile(file, []byte("new"), 0o600) },
		"create":   func() error { return os.WriteFile(fresh, nil, 0o600) },
		"append":   func() error { _, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0); return err },
		"open rw":  func() error { _, err := unix.Open(file, unix.O_RDWR, 0); return err },
		"truncate": func() error { return os.Truncate(file, 0) },
		"remove":   func() error { return os.Remove(file) },
		"rename":   func() error { return os.Rename(file, fresh) },
		"link":     func() error { return os.Link(file, fresh) },
		"symlink":  func() error { return os.Symlink(file, fresh) },
		"mkdir":    func() error { return os.Mkdir(fresh, 0o700) },
		"fifo":     func() error { return unix.Mkfifo(fresh, 0o600) },
		"chmod":    func() error { return os.Chmod(file, 0o777) },
		"chown":    func() error { return os.Chown(file, 0, 0) },
		"times":    func() error { return os.Chtimes(file, time.Now(), time.Now()) },
		"xattr":    func() error { return unix.Setxattr(file, "user.x", []byte("x"), 0) },
		"by handle": func() error {
			_, err := unix.OpenByHandleAt(unix.AT_FDCWD, unix.NewFileHandle(1, make([]byte, 8)), unix.O_RDWR)
			return err
		},
		"through an open file": func() error {
			f, err := os.Open(file)
			require.NoError(t, err, "to read is what it is there for")
			defer f.Close()
			return errors.Join(mustBe(f.Chmod(0o777)), mustBe(unix.IoctlSetPointerInt(int(f.Fd()), setFlags, 0x40)))
		},
	} {
		err := try()
		assert.ErrorIs(t, err, unix.EPERM, name) // Landlock would say EACCES: the filter needs no such kernel
	}
	_, err := unix.Openat2(unix.AT_FDCWD, file, &unix.OpenHow{Flags: unix.O_RDWR})
	assert.ErrorIs(t, err, unix.ENOSYS)
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, "old", string(content))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, entries, 2)
}

// mustBe turns a refusal that is not there into an error of another kind.
func mustBe(err error) error {
	if err == nil {
		return errors.New("it was not refused")
	}
	return err
}
