// Command rotate-certs-node works on one node: it scans it, replaces certificates,
// restarts components, verifies and rolls back. It runs in a short-lived pod that
// "kubectl rotate-certs" starts, or as root on the node itself.
//
// Results go to standard output, messages to standard error. The commands that pods run print
// JSON; "check", "rotate", "rollback" and "history" print what "kubectl rotate-certs" prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), endSignals()...)
	// A write to a closed pipe fails. Without this it would end the process, even in the middle
	// of a commit, see package os/signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	cmd, err := newCommand(os.Stdin, os.Stdout, os.Stderr).ExecuteContextC(ctx)
	interrupted := ctx.Err() != nil
	stop()
	if err == nil {
		return
	}
	if text := errorText(err); text != "" {
		fmt.Fprintln(os.Stderr, text)
	}
	os.Exit(exitCode(cmd.Name(), err, interrupted))
}

// errorText is an error as it is printed; empty: the output has said it already.
func errorText(err error) string {
	var unknown *plan.RollbackError
	var refused *plan.RefusedError
	switch {
	case errors.Is(err, errAttention), errors.Is(err, rotate.ErrLeftOut):
		return ""
	case errors.As(err, &unknown):
		err = hint.AddTo(err, programName+" history lists the rotations that this node keeps")
	case errors.As(err, &refused) && refused.Rollback:
		err = hint.AddTo(err, "issue new certificates instead: "+programName+" rotate --service NAME")
	}
	return "error: " + hint.TextOf(err)
}

// exitCode returns the exit code of a command's error, see docs/exit-codes.md.
func exitCode(command string, err error, interrupted bool) int {
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
	case errors.Is(err, errAttention):
		return exitcode.Attention
	case interrupted:
		return exitcode.Interrupted
	case command == checkName:
		return exitcode.NotJudged
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
