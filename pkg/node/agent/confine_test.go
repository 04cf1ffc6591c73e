//go:build linux

package agent

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	landlock "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// inChild runs a test once more, in a process of its own that may be confined: there is no
// way back. In that process it returns a directory, otherwise nothing.
func inChild(t *testing.T, attributes *syscall.SysProcAttr) (dir string) {
	t.Helper()
	if dir := os.Getenv("CONFINED"); dir != "" {
		return dir
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), "CONFINED="+t.TempDir())
	child.SysProcAttr = attributes
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return ""
}

func TestConfine(t *testing.T) {
	top := inChild(t, nil)
	if top == "" {
		return
	}
	dir := filepath.Join(top, "host")
	require.NoError(t, os.Mkdir(dir, 0o700))
	socket := filepath.Join(dir, "s")
	unixSocket, err := net.Listen("unix", socket)
	require.NoError(t, err)
	unixSocket.(*net.UnixListener).SetUnlinkOnClose(false)
	defer func() { _ = unixSocket.Close() }()
	conn, err := net.Dial("unix", socket)
	require.NoError(t, err, "before")
	_ = conn.Close()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o600), "before")

	health, err := OpenHealth(filepath.Join(top, "health"), time.Minute)
	require.NoError(t, err)

	require.NoError(t, ConfineProcess())

	require.NoError(t, health.noteReport(nil), "its own file it may write")
	require.NoError(t, CheckReady(filepath.Join(top, "health"), time.Now()))
	for range 20 { // on any thread
		done := make(chan error)
		go func() { _, err := net.Dial("unix", socket); done <- err }()
		assert.ErrorIs(t, <-done, unix.EPERM)
	}
	_, err = net.Dial("unixgram", socket)
	assert.ErrorIs(t, err, unix.EPERM)
	assert.ErrorIs(t, exec.CommandContext(t.Context(), "/bin/true").Run(), unix.EPERM)

	changesNothing(t, dir, everyChange(t, dir), unix.EPERM)
	_, err = unix.Openat2(unix.AT_FDCWD, filepath.Join(dir, "file"), &unix.OpenHow{Flags: unix.O_RDWR})
	assert.ErrorIs(t, err, unix.ENOSYS)

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err, "what an agent needs still works")
	defer func() { _ = l.Close() }()
	tcp, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	_ = tcp.Close()
}

// TestConfineBelowAReadOnlyMount has a file system of its own mounted below a directory that
// is shown read-only, as a disk of etcd's is below /var/lib. Before, it can be written to.
func TestConfineBelowAReadOnlyMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	top := inChild(t, &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS})
	if top == "" {
		return
	}
	host := filepath.Join(top, "host")
	shown := filepath.Join(top, "shown")
	disk := filepath.Join(shown, "etcd")
	require.NoError(t, os.MkdirAll(filepath.Join(host, "etcd"), 0o700))
	require.NoError(t, os.Mkdir(shown, 0o700))
	require.NoError(t, unix.Mount("tmpfs", filepath.Join(host, "etcd"), "tmpfs", 0, ""))
	require.NoError(t, unix.Mount(host, shown, "", unix.MS_BIND|unix.MS_REC, ""))
	require.NoError(t, unix.Mount("", shown, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	require.ErrorIs(t, os.WriteFile(filepath.Join(shown, "file"), nil, 0o600), unix.EROFS, "it is shown read-only")
	require.NoError(t, os.WriteFile(filepath.Join(disk, "file"), []byte("old"), 0o600), "which does not hold below")

	require.NoError(t, ConfineProcess())

	changesNothing(t, disk, everyChange(t, disk), unix.EPERM)
}

// TestLandlock sets Landlock without the filter, which would hide its effect.
func TestLandlock(t *testing.T) {
	if version, err := landlock.LandlockGetABIVersion(); err != nil || version < 3 {
		t.Skipf("this kernel has no Landlock that knows of truncating: version %d, %v", version, err)
	}
	dir := inChild(t, nil)
	if dir == "" {
		return
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o600), "before")

	require.NoError(t, setLandlock())

	all := everyChange(t, dir)
	for _, name := range []string{"chmod", "chown", "times", "xattr", "by handle", "through an open file"} {
		delete(all, name) // the filter's part
	}
	changesNothing(t, dir, all, unix.EACCES)
}

// changesNothing tries changes to a directory that nothing but the process itself protects.
func changesNothing(t *testing.T, dir string, changes map[string]func() error, refusal error) {
	t.Helper()
	before, err := os.ReadDir(dir)
	require.NoError(t, err)
	for name, try := range changes {
		assert.ErrorIs(t, try(), refusal, name)
	}
	content, err := os.ReadFile(filepath.Join(dir, "file"))
	require.NoError(t, err)
	assert.Equal(t, "old", string(content))
	after, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, after, len(before))
}

// everyChange are the ways to change a directory in which there is a file.
func everyChange(t *testing.T, dir string) map[string]func() error {
	t.Helper()
	file := filepath.Join(dir, "file")
	fresh := filepath.Join(dir, "new")
	return map[string]func() error{
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
	}
}

// mustBe turns a refusal that is not there into an error of another kind.
func mustBe(err error) error {
	if err == nil {
		return errors.New("it was not refused")
	}
	return err
}
