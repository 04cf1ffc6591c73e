package kube

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

const (
	// silence is how long a followed stream may send nothing before it counts as broken. The
	// node program sends an empty line every two seconds.
	silence = 10 * time.Second
	// callTimeout bounds one short command in a pod.
	callTimeout = 15 * time.Second
	// maxLine bounds one line from a node. No record is nearly as long.
	maxLine = 1 << 20
	// maxStderr bounds how much of a command's standard error is kept.
	maxStderr = 8 << 10
)

// errSilent means that a stream sent nothing. TCP alone can take many minutes to detect that
// the other end is not reachable.
var errSilent = fmt.Errorf("received nothing for %s", silence)

// command is one command in a container, and where its streams go.
type command struct {
	namespace, pod string
	args           []string
	stdin          io.Reader // may be nil
	stdout, stderr io.Writer
}

// runner runs a command in a container until it ends. A command that ran and failed
// is a [utilexec.CodeExitError].
type runner func(ctx context.Context, c command) error

// execRunner runs commands as kubectl exec does: through WebSockets, or SPDY where a server or
// a proxy does not support them. Every command has a connection of its own, so that a retry
// may reach another API server.
func execRunner(client kubernetes.Interface, config *rest.Config) runner {
	return func(ctx context.Context, c command) error {
		url := client.CoreV1().RESTClient().Post().Resource("pods").Namespace(c.namespace).Name(c.pod).
			SubResource("exec").VersionedParams(&corev1.PodExecOptions{
			Container: containerName, Command: c.args,
			Stdin: c.stdin != nil, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec).URL()
		spdy, err := remotecommand.NewSPDYExecutor(config, "POST", url)
		if err != nil {
			return fmt.Errorf("prepare exec: %w", err)
		}
		websocket, err := remotecommand.NewWebSocketExecutor(config, "GET", url.String())
		if err != nil {
			return fmt.Errorf("prepare exec: %w", err)
		}
		executor, err := remotecommand.NewFallbackExecutor(websocket, spdy, func(err error) bool {
			return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
		})
		if err != nil {
			return fmt.Errorf("prepare exec: %w", err)
		}
		// Not logged: a broken connection is retried, and its log would be printed amid the progress.
		ctx = klog.NewContext(ctx, logr.Discard())
		return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: c.stdin, Stdout: c.stdout, Stderr: c.stderr})
	}
}

// CommandError is a command of the node program that ran and failed.
type CommandError struct {
	Node string
	Verb string // "order"
	Code int
	Said string // the last line of its standard error
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: %q failed with code %d: %s", e.Node, e.Verb, e.Code, e.Said)
}

// exitCodeOf returns the exit code of a command. One that was killed (a kubelet that restarts
// kills the processes that exec has started) counts as a broken connection instead.
func exitCodeOf(err error) (code int, ok bool) {
	var exit utilexec.CodeExitError
	if errors.As(err, &exit) && exit.Code > 0 && exit.Code < 128 {
		return exit.Code, true
	}
	return 0, false
}

// lineWriter splits a stream into lines and passes each that is not empty to fn. Every write,
// also of an empty line, calls alive. A line that is too long, and an error of fn, fail the
// write and all later ones.
type lineWriter struct {
	fn    func(line []byte) error
	alive func()
	rest  []byte
	err   error
}

func (w *lineWriter) Write(p []byte) (int, error) {
	if w.alive != nil {
		w.alive()
	}
	if w.err != nil {
		return 0, w.err
	}
	w.rest = append(w.rest, p...)
	for {
		line, after, whole := bytes.Cut(w.rest, []byte("\n"))
		if !whole {
			break
		}
		w.rest = after
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if w.err = w.fn(line); w.err != nil {
				return 0, w.err
			}
		}
	}
	if len(w.rest) > maxLine {
		w.err = fmt.Errorf("a line is longer than %d bytes", maxLine)
		return 0, w.err
	}
	return len(p), nil
}

// tail keeps the last bytes written to it.
type tail struct{ kept []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.kept = append(t.kept, p...)
	if over := len(t.kept) - maxStderr; over > 0 {
		t.kept = append([]byte(nil), t.kept[over:]...)
	}
	return len(p), nil
}

// streamOutput runs a command and passes its lines to fn until it ends, fn fails (with fn's error),
// or it sends nothing for too long.
func streamOutput(ctx context.Context, run runner, c command, fn func(line []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	var failed atomic.Pointer[error]
	said := &tail{}
	c.stderr = said
	c.stdout = &lineWriter{
		alive: func() { watchdog.Reset(silence) },
		fn: func(line []byte) error {
			err := fn(line)
			if err != nil {
				// The executor does not end a command when a write of its output fails.
				failed.Store(&err)
				cancel(err)
			}
			return err
		},
	}
	err := run(ctx, c)
	if mine := failed.Load(); mine != nil {
		return *mine
	}
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return errSilent
	}
	if code, ok := exitCodeOf(err); ok {
		return &CommandError{Code: code, Said: lastLine(string(said.kept))}
	}
	return err
}

// copyLines feeds a whole stream to a lineWriter; a last line without its end is
// taken too.
func copyLines(w *lineWriter, from io.Reader) error {
	if _, err := io.Copy(w, from); err != nil {
		return err
	}
	_, err := w.Write([]byte("\n"))
	return err
}
