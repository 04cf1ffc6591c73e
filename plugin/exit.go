package plugin

import (
	"errors"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/exitcode"
)

// errAttention makes a check exit with [exitcode.Attention]; the output has said why.
var errAttention = errors.New("certificates need attention")

// errLeftOut makes a rotation exit with [exitcode.LeftOut]; the report lists it.
var errLeftOut = errors.New("done, but something in scope was left out")

// errDeclined means that the answer to a question was no.
var errDeclined = errors.New("nothing was changed")

// stoppedError is a rotation that stopped after it had changed a node.
type stoppedError struct{ error }

func (e stoppedError) Unwrap() error { return e.error }

// exitCode returns the exit code of a command's error, see docs/exit-codes.md.
func exitCode(command string, err error, interrupted bool) int {
	var held *kube.HeldError
	var stopped stoppedError
	switch {
	case errors.Is(err, fleet.ErrManualInterventionRequired):
		return exitcode.ManualInterventionRequired
	case errors.As(err, &held):
		return exitcode.Held
	case errors.As(err, &stopped):
		return exitcode.Stopped
	case errors.Is(err, fleet.ErrStopped):
		return exitcode.Failed
	case errors.Is(err, errAttention):
		return exitcode.Attention
	case errors.Is(err, errLeftOut):
		return exitcode.LeftOut
	case interrupted, errors.Is(err, fleet.ErrInterrupted), errors.Is(err, errDeclined):
		return exitcode.Interrupted
	case command == checkName:
		return exitcode.NotJudged
	default:
		return exitcode.Failed
	}
}
