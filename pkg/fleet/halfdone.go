package fleet

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/policy"
)

// halfDone says that a node was interrupted between old and new, in whichever rotation.
// Its process, once opened, first puts the old files back and restarts components.
func (r *run) halfDone(node string) bool {
	found := r.scanned(node)
	return found != nil && slices.ContainsFunc(found.Rotations, func(past inventory.Rotation) bool { return past.State == inventory.Committing })
}

// apart separates the steps whose nodes were interrupted from the others.
func (r *run) apart(steps []plan.Step) (whole, half []plan.Step) {
	for _, s := range steps {
		if r.halfDone(s.Node) {
			half = append(half, s)
		} else {
			whole = append(whole, s)
		}
	}
	return whole, half
}

// undo has interrupted control-plane nodes put back what they were at, one after the
// other, each only while the cluster is healthy without it: components restart. Where no
// other control-plane node has a process of ours, there is nobody to ask.
func (r *run) undo(ctx context.Context, steps []plan.Step) error {
	for _, s := range steps {
		if err := interrupted(ctx); err != nil {
			return r.interrupted(err)
		}
		if r.anyControlPlane() {
			judge := func(h []inventory.Health, _ string) []policy.Finding { return r.judgeWithout(s.Node, h) }
			if _, err := r.gateBy(ctx, nil, min(settle, r.Timeout), r.forced, judge); err != nil {
				return r.refused(s.Node+": it was interrupted, and the cluster is not healthy enough to undo that", err)
			}
		}
		r.say(Progress{Node: s.Node, Phase: PhaseUndoing, Done: true, Text: "it was interrupted; its process puts the old certificates back first"})
		if err := r.openSteps(ctx, []plan.Step{s}); err != nil {
			return err
		}
		r.asked = time.Time{}
		// The answer comes once all is undone.
		w := r.workers[s.Node]
		w.undoes = true
		err := r.stage(ctx, []plan.Step{s})
		w.undoes = false
		if err != nil {
			return err
		}
		judge := func(h []inventory.Health, _ string) []policy.Finding { return policy.Gate(only(h, s.Node), "") }
		if _, err := r.gateBy(ctx, nil, r.Timeout, r.forced, judge); err != nil {
			return r.stopped(fmt.Sprintf("%s: it was interrupted and its old certificates are back, but it did not become healthy", s.Node), err)
		}
	}
	return nil
}

// anyControlPlane says whether a process of ours runs on a control-plane node.
func (r *run) anyControlPlane() bool {
	r.Lock()
	defer r.Unlock()
	for _, w := range r.workers {
		if w.step.ControlPlane {
			return true
		}
	}
	return false
}

// judgeWithout is what speaks against restarting components on an interrupted node: all
// that is wrong elsewhere.
func (r *run) judgeWithout(node string, healths []inventory.Health) []policy.Finding {
	found := policy.Gate(policy.Without(healths, r.scanned(node)), "")
	others := slices.DeleteFunc(slices.Clone(r.Scanned), func(n inventory.Node) bool { return n.Name == node })
	return append(found, policy.Coverage(others, r.Unscanned, healths)...)
}

// only keeps what one node says of itself.
func only(healths []inventory.Health, node string) []inventory.Health {
	return slices.DeleteFunc(slices.Clone(healths), func(h inventory.Health) bool { return h.Node != node })
}
