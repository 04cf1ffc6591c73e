package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
)

const (
	// silence is how long a followed stream may send nothing before it counts as broken. The
	// node program sends an empty line every two seconds.
	silence = 10 * time.Second
	// maxLine bounds one line from a node. No record is nearly as long.
	maxLine = 1 << 20
	// maxStderr bounds how much of a command's standard error is kept.
	maxStderr = 8 << 10
)

// errSilent means that a stream sent nothing. TCP alone can take many minutes to detect that
// the other end is not reachable.
var errSilent = fmt.Errorf("received nothing for %s", silence)

// CommandError is a command of the node program that ran and failed.
type CommandError struct {
	Node string
	Verb string // "order"
	Code int
	Said error // the last error on its standard error, with its hint
}

func (e *CommandError) Error() string {
	return fmt.Sprintf("%s: %q failed with code %d: %v", e.Node, e.Verb, e.Code, e.Said)
}

func (e *CommandError) Unwrap() error { return e.Said }

// ExitError is the error of a command that ran and failed.
type ExitError struct{ Code int }

func (e *ExitError) Error() string { return fmt.Sprintf("exit code %d", e.Code) }

// exitCodeOf returns the exit code of a command. One that was killed (a kubelet that restarts
// kills the processes that exec has started) counts as a broken connection instead.
func exitCodeOf(err error) (code int, ok bool) {
	var exit *ExitError
	if errors.As(err, &exit) && exit.Code > 0 && exit.Code < 128 {
		return exit.Code, true
	}
	return 0, false
}

// LineWriter splits a stream into lines and passes each that is not empty to Line. Every write,
// also of an empty line, calls alive. A line that is too long, and an error of Line, fail the
// write and all later ones.
type LineWriter struct {
	Line  func(line []byte) error
	alive func()
	rest  []byte
	err   error
}

func (w *LineWriter) Write(p []byte) (int, error) {
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
			if w.err = w.Line(line); w.err != nil {
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

// StreamOutput runs a command and passes its lines to fn until it ends, fn fails (with fn's error),
// or it sends nothing for too long.
func StreamOutput(ctx context.Context, run Runner, c Command, fn func(line []byte) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()

	var failed atomic.Pointer[error]
	said := &tail{}
	c.Stderr = said
	c.Stdout = &LineWriter{
		alive: func() { watchdog.Reset(silence) },
		Line: func(line []byte) error {
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
		return &CommandError{Code: code, Said: hint.LastError(string(said.kept))}
	}
	return err
}

// CopyLines feeds a whole stream to a LineWriter; a last line without its end is
// taken too.
func CopyLines(w *LineWriter, from io.Reader) error {
	if _, err := io.Copy(w, from); err != nil {
		return err
	}
	_, err := w.Write([]byte("\n"))
	return err
}

// LastLine is the last line of a program's output.
func LastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
