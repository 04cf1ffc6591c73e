package plugin

import (
	"errors"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
)

// The exit codes, as README documents them.
const (
	exitStopped                    = 1   // rotate: stopped, or bad input; check: something needs attention
	exitManualInterventionRequired = 2   // rotate: a node is neither provably old nor new; check: nothing could be looked at
	exitHeld                       = 3   // another rotation holds the lock
	exitLeftOut                    = 4   // rotate: done, but something in scope was left out
	exitInterrupted                = 130 // as shells say it of Ctrl-C
)

// errAttention makes check exit with 1; everything has been said already.
var errAttention = errors.New("certificates need attention")

// errLeftOut makes a rotation exit with 4; everything has been said already.
var errLeftOut = errors.New("done, but something in scope was left out")

// errDeclined means that the person said no.
var errDeclined = errors.New("nothing was changed")

// exitCode maps an error of a command to the program's exit code.
func exitCode(command string, err error, interrupted bool) int {
	var held *kube.HeldError
	switch {
	case errors.Is(err, fleet.ErrManualInterventionRequired):
		return exitManualInterventionRequired
	case errors.As(err, &held):
		return exitHeld
	case errors.Is(err, fleet.ErrStopped):
		return exitStopped
	case errors.Is(err, errAttention):
		return exitStopped
	case errors.Is(err, errLeftOut):
		return exitLeftOut
	case interrupted, errors.Is(err, fleet.ErrInterrupted), errors.Is(err, errDeclined):
		return exitInterrupted
	case command == checkName:
		return exitManualInterventionRequired
	default:
		return exitStopped
	}
}
