package dashboard

import (
	"context"
	"crypto/rand"
	"slices"
	"time"
)

// plannedRotation is a plan under its own id. Its fields are guarded by work.mu.
type plannedRotation struct {
	ID       string
	Context  Context
	Choice   Choice
	Began    time.Time
	Ended    time.Time // zero: it is being made
	Plan     *Plan
	Err      error
	Rotation string // the rotation that carried it out

	run         runFunction // of the plan; nil: it cannot be carried out anymore
	endedBefore int         // rotations of its cluster that had ended when planning began
	cancel      context.CancelFunc
}

// addPlan adds a plan that is being made; false: too many are.
func (k *work) addPlan(c Context, choice Choice, cancel context.CancelFunc) (plannedRotation, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dropRuns()
	if k.stopping || k.planning >= plansAtOnce {
		return plannedRotation{}, false
	}
	k.planning++
	p := &plannedRotation{ID: rand.Text(), Context: c, Choice: choice, Began: k.now(), endedBefore: k.ended[clusterKey(c)], cancel: cancel}
	if len(k.plans) >= k.kept {
		k.plans[0].cancel()
		k.plans = slices.Delete(k.plans, 0, 1)
	}
	k.plans = append(k.plans, p)
	return *p, true
}

// freePlanner says that the call that made a plan has ended.
func (k *work) freePlanner() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.planning--
}

// cancelPlan interrupts planning; false: there is no such plan.
func (k *work) cancelPlan(context, id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.planByID(id)
	if p == nil || p.Context.Name != context {
		return false
	}
	p.cancel()
	return true
}

// dropRuns frees what only carrying a plan out needs, such as the inventories of all nodes, of
// plans that cannot be started anymore.
func (k *work) dropRuns() {
	for _, p := range k.plans {
		if state := k.stateOf(p); state == planVoid || state == planOld {
			p.run = nil
		}
	}
}

// finishPlan keeps the result of planning.
func (k *work) finishPlan(id string, plan Plan, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.planByID(id)
	if p == nil {
		return // dropped meanwhile
	}
	p.Ended = k.now()
	p.Err = err
	if err == nil {
		p.run = plan.Run
		plan.Run = nil
		p.Plan = &plan
	}
}

func (k *work) planByID(id string) *plannedRotation {
	for _, p := range k.plans {
		if p.ID == id {
			return p
		}
	}
	return nil
}

// findPlan returns a copy of a plan of a context, and why it cannot be started.
func (k *work) findPlan(context, id string) (p plannedRotation, state planState, found bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	kept := k.planByID(id)
	if kept == nil || kept.Context.Name != context {
		return plannedRotation{}, "", false
	}
	k.dropRuns()
	return *kept, k.stateOf(kept), true
}

// planState says whether a plan can be started.
type planState string

const (
	planScanning planState = "scanning"
	planFailed   planState = "failed"
	planReady    planState = "ready"
	planEmpty    planState = "empty"   // there is nothing to renew
	planStarted  planState = "started" // it can be started once
	planOld      planState = "old"
	planVoid     planState = "void" // another rotation has changed the cluster since
	planBusy     planState = "busy" // another rotation of this cluster is in progress
)

// planStates are all states, as text.
func planStates() []string {
	var out []string
	for _, state := range []planState{planScanning, planFailed, planReady, planEmpty, planStarted, planOld, planVoid, planBusy} {
		out = append(out, string(state))
	}
	return out
}

func (k *work) stateOf(p *plannedRotation) planState {
	key := clusterKey(p.Context)
	switch {
	case p.Rotation != "":
		return planStarted
	case p.Ended.IsZero():
		return planScanning
	case p.Err != nil:
		return planFailed
	case k.running[key] != nil:
		return planBusy
	case k.ended[key] != p.endedBefore:
		return planVoid
	case k.now().Sub(p.Ended) > 10*time.Minute:
		return planOld
	case p.run == nil || !p.Plan.changesAnything():
		return planEmpty
	}
	return planReady
}

// changesAnything reports whether a plan renews a certificate.
func (p *Plan) changesAnything() bool {
	for _, step := range p.Document.Steps {
		if len(step.Certificates) > 0 {
			return true
		}
	}
	return false
}
