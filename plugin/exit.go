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

// exitCode returns the exit code of a command's error, see docs/exit-codes.md.
func exitCode(command string, err error, interrupted bool) int {
	var held *kube.HeldError
	var stopped *fleet.StopError
	switch {
	case errors.Is(err, fleet.ErrManualInterventionRequired):
		return exitcode.ManualInterventionRequired
	case errors.As(err, &held):
		return exitcode.Held
	case errors.Is(err, fleet.ErrStopped) && errors.As(err, &stopped) && stopped.Changed:
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
