package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// stoppedError is an error outside of the nodes: the state of each node is known.
func (r *run) stoppedError(what string, why error) error {
	var already *StopError
	if errors.As(why, &already) {
		return why
	}
	return &StopError{What: what, State: r.nodeStates(""), Why: hint.TextOf(why), Next: r.continueHint(), kind: ErrStopped}
}

// stoppedByChange is the error of a plan that must not be replaced by another one.
func (r *run) stoppedByChange(what, why string) error {
	return &StopError{What: what, State: r.nodeStates(""), Why: why, Next: "plan again", kind: ErrStopped}
}

// nodeFailed is an error of one node.
func (r *run) nodeFailed(node string, result v1alpha1.Result, what, why, next string) error {
	kind := ErrStopped
	own := node + " was not changed"
	w := r.seen[node]
	switch {
	case result == v1alpha1.RolledBack:
		own = node + " runs on its old certificates again, and serves them (verified)"
		if r.Request.RollbackOf != "" {
			own = node + " runs on its present certificates again, and serves them (verified)"
		}
	case len(w.recordsOf(nodeapi.Committing)) > 0:
		kind = ErrManualInterventionRequired
		own = node + ": state unknown: neither old nor new certificates could be verified"
	}
	r.recordOutcome(node, result, why)
	next = cmp.Or(next, r.continueHint())
	return &StopError{What: what, State: append([]string{own}, r.nodeStates(node)...), Why: why, Look: r.historyCommand(node), Next: next, kind: kind}
}

// worstFailure is the failure of a wave: the first one, or the first that requires manual
// intervention, with how the nodes of the other failures stand; nil: there is none.
func worstFailure(failures []error) error {
	var all []*StopError
	for _, err := range failures {
		var stop *StopError
		switch {
		case err == nil:
		case !errors.As(err, &stop):
			return err
		case errors.Is(stop, ErrManualInterventionRequired):
			all = slices.Insert(all, 0, stop)
		default:
			all = append(all, stop)
		}
	}
	if len(all) == 0 {
		return nil
	}
	worst := *all[0]
	worst.State = slices.Clone(worst.State)
	for _, other := range all[1:] {
		worst.State = append(worst.State, other.What)
		worst.State = append(worst.State, other.State[:min(1, len(other.State))]...)
	}
	return &worst
}

func (r *run) interruptedError(err error) error {
	stop := &StopError{What: "interrupted", State: r.nodeStates(""), Why: hint.TextOf(err), kind: ErrInterrupted,
		Next: "run the same command again: it continues this rotation (" + r.ID + ") for a day"}
	if errors.Is(err, ErrInterrupted) {
		stop.Why = "" // the operator pressed Ctrl-C
	}
	return stop
}

func interruption(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// historyCommand is the command that shows what a node recorded; nothing where it was never
// reached and so has nothing to show.
func (r *run) historyCommand(node string) string {
	if w := r.seen[node]; w == nil || w.last == 0 {
		return ""
	}
	return fmt.Sprintf("%s history %s --node %s", r.Command, r.ID, node)
}

func (r *run) continueHint() string {
	return "fix the cause, then run the same command again: it continues this rotation (" + r.ID + ") for a day"
}

// nodeStates says how the nodes stand, those of the same standing in one line.
func (r *run) nodeStates(except string) []string {
	var done, untouched []string
	for _, s := range r.planSteps() {
		switch {
		case s.Node == except:
		case r.resultOf(s.Node) == v1alpha1.Succeeded || r.Unfinished.IsDone(s.Node):
			done = append(done, s.Node)
		case r.resultOf(s.Node) == "":
			untouched = append(untouched, s.Node)
		}
	}
	var out []string
	if len(done) > 0 {
		out = append(out, withVerb(done, "keeps", "keep")+" the "+r.nextWord()+", verified certificates")
	}
	if len(untouched) > 0 {
		out = append(out, withVerb(untouched, "was", "were")+" not touched")
	}
	return out
}

// firstFailure is the first thing that went wrong on a node.
func (w *worker) firstFailure() string {
	for _, rec := range w.recordsOf(nodeapi.RollingBack) {
		return rec.Message
	}
	return "its part failed"
}

func withVerb(nodes []string, one, many string) string {
	if len(nodes) == 1 {
		return nodes[0] + " " + one
	}
	return joinNodes(nodes) + " " + many
}

// joinNodes lists node names, at most eight of them: a line must stay readable on a fleet.
func joinNodes(nodes []string) string {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	if more := len(nodes) - 8; more > 0 {
		return strings.Join(nodes[:8], " ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(nodes, " ")
}
