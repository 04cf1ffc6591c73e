package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/gate"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// wasInterrupted says that a node was interrupted between old and new, in whichever rotation.
// Its process, once opened, first puts the old files back and restarts components.
func (r *run) wasInterrupted(node string) bool {
	found := r.inventoryOf(node)
	return found != nil && slices.ContainsFunc(found.Rotations, func(past inventory.NodeRotation) bool { return past.State == inventory.Committing })
}

// splitInterrupted separates the steps whose nodes were interrupted from the others.
func (r *run) splitInterrupted(steps []plan.Step) (whole, half []plan.Step) {
	for _, s := range steps {
		if r.wasInterrupted(s.Node) {
			half = append(half, s)
		} else {
			whole = append(whole, s)
		}
	}
	return whole, half
}

// undoInterrupted has interrupted control-plane nodes put back what they were at, one after the
// other, each only while the cluster is healthy without it: components restart. Where no
// other control-plane node has a process of this rotation, no node can be asked.
func (r *run) undoInterrupted(ctx context.Context, steps []plan.Step) error {
	for _, s := range steps {
		if err := interruption(ctx); err != nil {
			return r.interruptedError(err)
		}
		if r.anyControlPlane() {
			judge := func(h []inventory.Health, _ string) []gate.Finding { return r.judgeWithout(s.Node, h) }
			if _, err := r.awaitGateBy(ctx, nil, min(settle, r.Timeout), r.overriddenAtStart, judge); err != nil {
				return r.refusedByGate(s.Node+": it was interrupted, and the cluster is not healthy enough to undo that", err)
			}
		}
		r.showProgress(Progress{Node: s.Node, Phase: PhaseUndoing, Done: true, Text: "it was interrupted; its process puts the old certificates back first"})
		if err := r.openSteps(ctx, []plan.Step{s}); err != nil {
			return err
		}
		r.asked = time.Time{}
		if err := r.stageUndone(ctx, r.workers[s.Node]); err != nil {
			if stop := interruption(ctx); stop != nil {
				return r.interruptedError(stop)
			}
			return err
		}
		judge := func(h []inventory.Health, _ string) []gate.Finding { return gate.CheckHealth(onlyOf(h, s.Node), "") }
		if _, err := r.awaitGateBy(ctx, nil, r.Timeout, r.overriddenAtStart, judge); err != nil {
			return r.stoppedError(fmt.Sprintf("%s: it was interrupted and its old certificates are back, but it did not become healthy", s.Node), err)
		}
	}
	return nil
}

// stageUndone stages an interrupted node, whose answer comes once all is undone. The plan
// may be made of certificates that are not in place any more then; it is made anew.
func (r *run) stageUndone(ctx context.Context, w *worker) error {
	r.Lock()
	r.changed = true // its process puts files back and restarts components
	r.Unlock()
	w.undoes = true
	answer, err := r.stageAndSign(ctx, w)
	w.undoes = false
	if err == nil && answer.Kind == nodeapi.Refused {
		if err = r.planAgain(ctx, w); err == nil {
			answer, err = r.stageAndSign(ctx, w)
		}
	}
	var stopped *StopError
	if errors.As(err, &stopped) {
		return stopped
	}
	if err := r.stagingError(w, answer, err); err != nil {
		return err
	}
	r.showProgress(Progress{Node: w.step.Node, Phase: PhaseStaged, Text: "staged"})
	return nil
}

// planAgain scans a node again and plans its step anew.
func (r *run) planAgain(ctx context.Context, w *worker) error {
	node := w.step.Node
	found, err := r.scanAgain(ctx, node)
	if err != nil {
		return fmt.Errorf("scan node again: %w", err)
	}
	again := []inventory.Node{found}
	r.keepKnown(again)
	p, err := r.planOf(again[0])
	if err != nil {
		return err
	}
	if r.OnlyPlanned && !p.RenewsSame(plan.Plan{Waves: []plan.Wave{{Steps: []plan.Step{w.step}}}}) {
		return r.stoppedByChange(node+": it has changed since the plan; nothing was renewed there", "its process has put back what was interrupted")
	}
	r.Lock() // workers that are opened early say how the nodes stand if they fail
	defer r.Unlock()
	*r.inventoryOf(node) = again[0]
	of := func(l plan.LeftOut) bool { return l.Node == node }
	r.Plan.LeftOut = append(slices.DeleteFunc(slices.Clone(r.Plan.LeftOut), of), p.LeftOut...)
	for _, wave := range r.Plan.Waves {
		for i := range wave.Steps {
			if s := &wave.Steps[i]; s.Node == node {
				lifetime := s.LifetimeSeconds
				*s = p.AllSteps()[0]
				s.LifetimeSeconds = lifetime
				w.step = *s
				w.limit = r.stepTimeout(*s)
			}
		}
	}
	return nil
}

// planOf plans the step of one node. The others count as they were scanned: one of them may have
// to sign.
func (r *run) planOf(again inventory.Node) (plan.Plan, error) {
	r.Lock()
	nodes := slices.Clone(r.Scanned)
	r.Unlock()
	for i := range nodes {
		if nodes[i].Name == again.Name {
			nodes[i] = again
		}
	}
	request := r.Request
	request.StepOf = again.Name
	return plan.BuildPlan(nodes, request, r.Unfinished)
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
func (r *run) judgeWithout(node string, healths []inventory.Health) []gate.Finding {
	found := gate.CheckHealth(gate.WithoutNode(healths, r.inventoryOf(node)), "")
	others := slices.DeleteFunc(slices.Clone(r.Scanned), func(n inventory.Node) bool { return n.Name == node })
	found = append(found, gate.CheckCoverage(others, r.Unscanned, healths)...)
	return append(found, r.missingMembers(healths)...)
}

// onlyOf keeps what one node says of itself.
func onlyOf(healths []inventory.Health, node string) []inventory.Health {
	return slices.DeleteFunc(slices.Clone(healths), func(h inventory.Health) bool { return h.Node != node })
}
