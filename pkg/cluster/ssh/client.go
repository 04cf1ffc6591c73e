package ssh

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

const (
	// connectTimeout bounds one attempt to connect, in seconds.
	connectTimeout = "10"
	// aliveInterval and aliveCount are after how many seconds without an answer a connection
	// counts as broken: their product.
	aliveInterval = "5"
	aliveCount    = "3"
	// persist is how long a shared connection stays open without a command.
	persist = "5m"
)

// client runs the system's ssh.
type client struct {
	program string // path of ssh
	config  string // file for -F; empty: the operator's own
	sockets string // directory of the shared connections; empty: every command has its own
}

// newClient finds the system's ssh. close removes what it leaves on this machine.
func newClient(config string) (c *client, closeClient func(), err error) {
	program, err := exec.LookPath("ssh")
	if err != nil {
		return nil, nil, hint.AddTo(fmt.Errorf("find the ssh program: %w", err), "install the OpenSSH client")
	}
	c = &client{program: program, config: config}
	if runtime.GOOS == "windows" { // its OpenSSH shares no connections
		return c, func() {}, nil
	}
	if c.sockets, err = os.MkdirTemp(socketParent(), "rc-"); err != nil {
		return nil, nil, fmt.Errorf("make a directory for ssh connections: %w", err)
	}
	return c, func() { _ = os.RemoveAll(c.sockets) }, nil
}

// socketParent is where the directory of the sockets is made, for this user only. The path of a
// socket has at most 104 bytes on macOS and 108 on Linux, and ssh needs some 60 of them.
func socketParent() string {
	const most = 20
	if len(os.TempDir()) > most {
		return "/tmp"
	}
	return os.TempDir()
}

// options are those of every call. They precede the operator's configuration.
func (c *client) options() []string {
	options := []string{
		"-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=" + connectTimeout,
		"-o", "ServerAliveInterval=" + aliveInterval, "-o", "ServerAliveCountMax=" + aliveCount,
		"-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "ClearAllForwardings=yes", "-o", "RequestTTY=no", "-o", "RemoteCommand=none", "-o", "LogLevel=ERROR",
	}
	if c.sockets != "" {
		options = append(options, "-o", "ControlMaster=auto", "-o", "ControlPath="+filepath.Join(c.sockets, "%C"), "-o", "ControlPersist="+persist)
	}
	if c.config != "" {
		options = append(options, "-F", c.config)
	}
	return options
}

// brokenCode is ssh's own exit code where the connection failed (ssh(1)).
const brokenCode = 255

// run runs a command of a POSIX shell on a host. The error of one that ran and failed is a
// [*session.ExitError]; a connection that failed is a [*ConnectionError].
func (c *client) run(ctx context.Context, host, command string, stdin io.Reader, stdout, stderr io.Writer) error {
	said := &bytes.Buffer{}
	process := exec.CommandContext(ctx, c.program, append(c.options(), "--", host, remoteCommand(command))...) //nolint:gosec // ssh itself
	process.Stdin = stdin
	process.Stdout = &afterMark{to: stdout}
	process.Stderr = io.MultiWriter(stderr, &limited{said})
	process.WaitDelay = 2 * time.Second
	err := process.Run()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &exit) && exit.ExitCode() == brokenCode:
		return &ConnectionError{Host: host, Said: session.LastLine(said.String())}
	case errors.As(err, &exit) && exit.ExitCode() > 0:
		return &session.ExitError{Code: exit.ExitCode()}
	}
	return fmt.Errorf("run ssh to %q: %w", host, err)
}

// close ends the shared connection to a host.
func (c *client) close(ctx context.Context, host string) {
	if c.sockets != "" {
		_ = exec.CommandContext(ctx, c.program, append(c.options(), "-O", "exit", "--", host)...).Run() //nolint:gosec // ssh itself; without this it ends after persist
	}
}

// limited writes at most some kilobytes, and drops the rest.
type limited struct{ to *bytes.Buffer }

func (l *limited) Write(p []byte) (int, error) {
	const most = 8 << 10
	l.to.Write(p[:max(0, min(len(p), most-l.to.Len()))])
	return len(p), nil
}

// quote makes one word of a POSIX shell.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// ConnectionError means that a host could not be reached, or the connection broke.
type ConnectionError struct {
	Host string
	Said string // the last line that ssh printed
}

func (e *ConnectionError) Error() string {
	said := cmp.Or(e.Said, "the connection broke")
	return fmt.Sprintf("connect to %q over ssh: %s", e.Host, said)
}

// Hint returns the next step; see package hint.
func (e *ConnectionError) Hint() string {
	switch {
	case strings.Contains(e.Said, "Host key verification failed"), strings.Contains(e.Said, "host key is known"):
		return fmt.Sprintf("its host key is not in known_hosts, or has changed: compare it with the host's own, and accept it once with \"ssh %s\"", e.Host)
	case strings.Contains(e.Said, "Permission denied"):
		return "no key of yours is accepted there: add it to the ssh agent, or name the user as USER@HOST"
	case strings.Contains(e.Said, "resolve hostname"), strings.Contains(e.Said, "timed out"), strings.Contains(e.Said, "refused"), strings.Contains(e.Said, "No route"):
		return fmt.Sprintf("\"ssh %s\" must work from here first", e.Host)
	}
	return ""
}
