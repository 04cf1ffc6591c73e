package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// stopped is an error of the orchestration: no node is in doubt.
func (r *run) stopped(what string, why error) error {
	var already *StopError
	if errors.As(why, &already) {
		return why
	}
	return &StopError{What: what, State: r.state(""), Why: why.Error(), Next: r.again(), kind: ErrStopped}
}

// failed is an error of one node.
func (r *run) failed(node string, result v1alpha1.Result, what, why, hint string) error {
	kind, own := ErrStopped, node+" was not changed"
	w := r.seen[node]
	switch {
	case result == v1alpha1.RolledBack:
		own = node + " runs on its old certificates again, and serves them (verified)"
	case len(w.of(nodeapi.Committing)) > 0:
		kind, own = ErrManualInterventionRequired, node+" is in doubt: it is neither verified to be old nor to be new"
	}
	r.ended(node, result, why)
	next := hint
	if next == "" {
		next = r.again()
	}
	return &StopError{What: what, State: append([]string{own}, r.state(node)...), Why: why, Look: r.look(node), Next: next, kind: kind}
}

func (r *run) interrupted(err error) error {
	stop := &StopError{What: "interrupted", State: r.state(""), Why: err.Error(), kind: ErrInterrupted,
		Next: "run the same command again: it continues this rotation (" + r.ID + ") for a day"}
	if errors.Is(err, ErrInterrupted) {
		stop.Why = "" // somebody pressed Ctrl-C, and knows it
	}
	return stop
}

func interrupted(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}

// look is the command that shows what a node recorded; nothing where it was never
// reached and so has nothing to show.
func (r *run) look(node string) string {
	if w := r.seen[node]; w == nil || w.last == 0 {
		return ""
	}
	return fmt.Sprintf("%s history %s --node %s", r.Command, r.ID, node)
}

func (r *run) again() string {
	return "mend the cause, then run the same command again: it continues this rotation (" + r.ID + ") for a day"
}

// state says how the nodes stand, those of the same standing in one line.
func (r *run) state(except string) []string {
	var done, untouched []string
	for _, s := range r.steps() {
		switch {
		case s.Node == except:
		case r.result(s.Node) == v1alpha1.Succeeded || r.Unfinished.Done(s.Node):
			done = append(done, s.Node)
		case r.result(s.Node) == "":
			untouched = append(untouched, s.Node)
		}
	}
	var out []string
	if len(done) > 0 {
		out = append(out, plural(done, "keeps", "keep")+" the new, verified certificates")
	}
	if len(untouched) > 0 {
		out = append(out, plural(untouched, "was", "were")+" not touched")
	}
	return out
}

// cause is the first thing that went wrong on a node.
func (w *worker) cause() string {
	for _, rec := range w.of(nodeapi.RollingBack) {
		return rec.Message
	}
	return "its part failed"
}

func plural(nodes []string, one, many string) string {
	if len(nodes) == 1 {
		return nodes[0] + " " + one
	}
	return join(nodes) + " " + many
}

// join lists node names, at most eight of them: a line must stay readable on a fleet.
func join(nodes []string) string {
	nodes = slices.Clone(nodes)
	slices.Sort(nodes)
	if more := len(nodes) - 8; more > 0 {
		return strings.Join(nodes[:8], " ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(nodes, " ")
}
