package dashboard

import (
	"errors"
	"fmt"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// outcomeView is the end of a rotation in words.
type outcomeView struct {
	Ended     bool
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
		out.Word = "not begun"
		out.Condition = unknown
	case errors.Is(r.err, ErrNotFollowed) || r.Plan.ByWatcher && r.err != nil && r.isInterrupted():
		out.Word = "not followed any more"
		out.Condition = attention
	case errors.Is(r.err, fleet.ErrManualInterventionRequired):
		out.Word = "stopped: manual intervention required"
		out.Condition = expired
	case errors.Is(r.err, fleet.ErrInterrupted) || r.err != nil && r.isInterrupted():
		out.Word = "interrupted"
		out.Condition = attention
	case r.report == nil:
		out.Word = "ended without a report"
		out.Condition = expired
	case r.err == nil && r.report.Result == v1alpha1.Succeeded:
		r.viewSuccess(&out)
	case r.report.Result == v1alpha1.RolledBack:
		out.Word = "failed and rolled back"
		out.Condition = attention
	case r.report.Result == v1alpha1.Succeeded:
		out.Word = "succeeded in part"
		out.Condition = attention
	default:
		out.Word = "failed"
		out.Condition = expired
	}
	if out.Text == "" && r.report != nil {
		out.Text = printers.CleanText(r.report.Message)
	}
	return out
}

// viewProgress is the state of a rotation that has not ended.
func (r *rotation) viewProgress() outcomeView {
	switch {
	case !r.isInterrupted():
		return outcomeView{Word: "in progress", Condition: "running"}
	case r.Plan.ByWatcher:
		return outcomeView{Word: "in progress", Condition: "running", Text: "This page stops following the rotation. The watcher continues it."}
	}
	return outcomeView{Word: "stopping", Condition: attention, Text: "Finishing or rolling back the node in progress, then stopping."}
}

// viewSuccess is the end of a rotation without an error. The command does not call it a success
// either where something in scope was left out.
func (r *rotation) viewSuccess(out *outcomeView) {
	out.Word = "succeeded"
	out.Condition = healthy
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
	out.Word = "done, but something was left out"
	out.Condition = attention
	if out.Text == "" {
		out.Text = "Done"
	}
	out.Text = fmt.Sprintf("%s, but %s", out.Text, left)
}
