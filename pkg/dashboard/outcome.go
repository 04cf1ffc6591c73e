package dashboard

import (
	"errors"
	"fmt"
	"slices"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// outcomeState is the state of a rotation, for programs.
type outcomeState string

// The states of a rotation.
const (
	outcomeRunning     outcomeState = "InProgress"
	outcomeStopping    outcomeState = "Stopping"
	outcomeSucceeded   outcomeState = "Succeeded"
	outcomeLeftOut     outcomeState = "SucceededWithLeftOut"
	outcomePart        outcomeState = "SucceededInPart"
	outcomeRolledBack  outcomeState = "RolledBack"
	outcomeFailed      outcomeState = "Failed"
	outcomeUnknown     outcomeState = "ManualInterventionRequired"
	outcomeInterrupted outcomeState = "Interrupted"
	outcomeNotBegun    outcomeState = "NotBegun"
	outcomeNotFollowed outcomeState = "NotFollowed"
	outcomeNoReport    outcomeState = "NoReport"
)

// outcomes are the states as pages say and show them.
var outcomes = map[outcomeState]struct {
	word      string
	condition condition
}{
	outcomeRunning:     {"in progress", "running"},
	outcomeStopping:    {"stopping", attention},
	outcomeSucceeded:   {"succeeded", healthy},
	outcomeLeftOut:     {"done, but something was left out", attention},
	outcomePart:        {"succeeded in part", attention},
	outcomeRolledBack:  {"failed and rolled back", attention},
	outcomeFailed:      {"failed", expired},
	outcomeUnknown:     {"stopped: manual intervention required", expired},
	outcomeInterrupted: {"interrupted", attention},
	outcomeNotBegun:    {"not begun", unknown},
	outcomeNotFollowed: {"not followed any more", attention},
	outcomeNoReport:    {"ended without a report", expired},
}

// outcomeStates are all states, as text.
func outcomeStates() []string {
	var out []string
	for state := range outcomes {
		out = append(out, string(state))
	}
	slices.Sort(out)
	return out
}

// outcomeView is the end of a rotation in words.
type outcomeView struct {
	Ended     bool
	State     outcomeState
	Word      string // in progress, stopping, succeeded, failed …
	Condition condition
	Text      string
	Hint      string
}

func (r *rotation) viewOutcome() outcomeView {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended.IsZero() {
		return r.viewProgress()
	}
	out := outcomeView{Ended: true}
	out.Text, out.Hint = errorParts(r.err)
	switch {
	case errors.Is(r.err, ErrNotBegun):
		out.setState(outcomeNotBegun)
	case errors.Is(r.err, ErrNotFollowed) || r.Plan.ByWatcher && r.err != nil && r.isInterrupted():
		out.setState(outcomeNotFollowed)
	case errors.Is(r.err, fleet.ErrManualInterventionRequired):
		out.setState(outcomeUnknown)
	case errors.Is(r.err, fleet.ErrInterrupted) || r.err != nil && r.isInterrupted():
		out.setState(outcomeInterrupted)
	case r.report == nil:
		out.setState(outcomeNoReport)
	case r.err == nil && r.report.Result == v1alpha1.Succeeded:
		r.viewSuccess(&out)
	case r.report.Result == v1alpha1.RolledBack:
		out.setState(outcomeRolledBack)
	case r.report.Result == v1alpha1.Succeeded:
		out.setState(outcomePart)
	default:
		out.setState(outcomeFailed)
	}
	if out.Text == "" && r.report != nil {
		out.Text = printers.CleanText(r.report.Message)
	}
	return out
}

func (o *outcomeView) setState(state outcomeState) {
	o.State = state
	o.Word = outcomes[state].word
	o.Condition = outcomes[state].condition
}

// hasFailed reports whether certificates that were to be renewed are not, as far as is known.
func (o outcomeView) hasFailed() bool {
	switch o.State {
	case outcomeRunning, outcomeStopping, outcomeSucceeded, outcomeLeftOut, outcomeNotFollowed:
		return false
	}
	return true
}

// viewProgress is the state of a rotation that has not ended.
func (r *rotation) viewProgress() outcomeView {
	out := outcomeView{}
	out.setState(outcomeRunning)
	switch {
	case !r.isInterrupted():
	case r.Plan.ByWatcher:
		out.Text = "This page stops following the rotation. The watcher continues it."
	default:
		out.setState(outcomeStopping)
		out.Text = "Finishing or rolling back the node in progress, then stopping."
	}
	return out
}

// viewSuccess is the end of a rotation without an error. The command does not call it a success
// either where something in scope was left out.
func (r *rotation) viewSuccess(out *outcomeView) {
	out.setState(outcomeSucceeded)
	// The report of a rotation of the watcher is made of its status, and does not count what was
	// renewed.
	if !r.Plan.ByWatcher {
		out.Text = printers.OutcomeText(r.report, r.ended.Sub(r.Began), r.Choice.Restart)
	} else {
		out.Text = printers.CleanText(r.report.Message)
	}
	left := printers.NotDone(r.report)
	if left == "" {
		return
	}
	out.setState(outcomeLeftOut)
	if out.Text == "" {
		out.Text = "Done"
	}
	out.Text = fmt.Sprintf("%s, but %s", out.Text, left)
}
