// Command rotate-certs-node works on one node: it scans it, replaces certificates,
// restarts components, verifies and rolls back. It runs in a short-lived pod that
// "kubectl rotate-certs" starts, or as root on the node itself.
//
// Results go to standard output as JSON, messages to standard error; "rotate" and "recover"
// print text on a terminal.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	// A write to a closed pipe fails. Without this it would end the process, even in the middle
	// of a commit, see package os/signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	err := newCommand(os.Stdin, os.Stdout, os.Stderr).ExecuteContext(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err == nil {
		return
	}
	words := "error: " + err.Error()
	if errors.Is(err, rotate.ErrLeftOut) {
		words = err.Error()
	}
	fmt.Fprintln(os.Stderr, words)
	os.Exit(exitCode(err, interrupted))
}

// exitCode returns the exit code of an error, see docs/exit-codes.md.
func exitCode(err error, interrupted bool) int {
	var locked *statedir.LockedError
	var damaged *statedir.DamagedError
	switch {
	case errors.Is(err, rotate.ErrManualInterventionRequired), errors.Is(err, rotate.ErrNotVerified), errors.As(err, &damaged):
		return exitcode.ManualInterventionRequired
	case errors.Is(err, rotate.ErrLeftOut):
		return exitcode.LeftOut
	case errors.Is(err, rotate.ErrRolledBack):
		return exitcode.Stopped
	case errors.As(err, &locked):
		return exitcode.Held
	case interrupted:
		return exitcode.Interrupted
	}
	return exitcode.Failed
}

// endSignals returns the signals that end the process in good order: at once before a commit; a
// commit that has begun is completed or rolled back. SIGHUP is one, since a terminal whose
// connection breaks sends it; if it is ignored, as with nohup, it stays ignored.
func endSignals() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}
