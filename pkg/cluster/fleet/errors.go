package fleet

import (
	"errors"
	"strings"
)

var (
	// ErrStopped means that the rotation stopped: the failing node is as it was
	// before, nodes done earlier keep their verified new certificates.
	ErrStopped = errors.New("rotation stopped")
	// ErrManualInterventionRequired means that a node is neither provably old nor provably new.
	ErrManualInterventionRequired = errors.New("manual intervention required")
	// ErrInterrupted means that the caller asked to stop.
	ErrInterrupted = errors.New("interrupted")
)

// StopError says why a rotation stopped, and which certificates each node has now.
type StopError struct {
	What  string   // "cp3: etcd did not become healthy within 60s on its new certificate"
	State []string // how each node stands
	Why   string   // the component's or the cluster's own words; may be empty
	Look  string   // the command that shows more; may be empty
	Next  string   // what to do then
	// Changed is true if the rotation has changed a node, also where that was rolled back.
	Changed bool
	kind    error // one of the sentinels
}

func (e *StopError) Error() string {
	lines := append([]string{e.What}, e.State...)
	if e.Why != "" {
		lines = append(lines, "why: "+e.Why)
	}
	next := "next: "
	if e.Look != "" {
		lines = append(lines, next+e.Look)
		next = "then: "
	}
	if e.Next != "" {
		lines = append(lines, next+e.Next)
	}
	return strings.Join(lines, "\n  ")
}

// Unwrap returns [ErrStopped], [ErrManualInterventionRequired] or [ErrInterrupted].
func (e *StopError) Unwrap() error { return e.kind }
