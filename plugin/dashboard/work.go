package dashboard

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// Bounds of what is kept in memory; the oldest is dropped. A rotation in progress never is.
const (
	keptPlans     = 50
	keptRotations = 50
	planValid     = 10 * time.Minute
	plansAtOnce   = 8
)

// work holds the plans and rotations of this process. One mutex decides which rotation begins:
// two requests never start the same plan, nor two rotations of one cluster.
type work struct {
	now func() time.Time

	mu        sync.Mutex
	stopping  bool
	plans     []*plannedRotation // oldest first
	rotations []*rotation        // oldest first
	running   map[string]*rotation
	ended     map[string]int // rotations of a cluster that have ended, by its key
	active    sync.WaitGroup
}

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

	endedBefore int // rotations of its cluster that had ended when planning began
	cancel      context.CancelFunc
}

func newWork(now func() time.Time) *work {
	return &work{now: now, running: map[string]*rotation{}, ended: map[string]int{}}
}

// addPlan adds a plan that is being made; false: too many are.
func (k *work) addPlan(c Context, choice Choice, cancel context.CancelFunc) (plannedRotation, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	making := 0
	for _, p := range k.plans {
		if p.Ended.IsZero() {
			making++
		}
	}
	if k.stopping || making >= plansAtOnce {
		return plannedRotation{}, false
	}
	p := &plannedRotation{ID: rand.Text(), Context: c, Choice: choice, Began: k.now(), endedBefore: k.ended[clusterKey(c)], cancel: cancel}
	if len(k.plans) >= keptPlans {
		k.plans[0].cancel()
		k.plans = slices.Delete(k.plans, 0, 1)
	}
	k.plans = append(k.plans, p)
	return *p, true
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
	case k.now().Sub(p.Ended) > planValid:
		return planOld
	case !p.Plan.changesAnything():
		return planEmpty
	}
	return planReady
}

// changesAnything reports whether a plan renews a certificate.
func (p *Plan) changesAnything() bool {
	for _, step := range p.Document.Steps {
		if len(step.Certificates) > 0 {
			return p.Run != nil
		}
	}
	return false
}

// beginRotation starts a plan unless something is against it. The rotation is the new one, or the
// one that the operator should see instead.
func (k *work) beginRotation(context, planID string) (r *rotation, state planState, found bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	p := k.planByID(planID)
	if p == nil || p.Context.Name != context {
		return nil, "", false
	}
	state = k.stateOf(p)
	switch {
	case state == planStarted:
		return k.rotationByID(p.Rotation), state, true
	case state == planBusy:
		return k.running[clusterKey(p.Context)], state, true
	case state != planReady:
		return nil, state, true
	case k.stopping:
		return nil, planVoid, true
	}
	r = newRotation(p, k.now())
	p.Rotation = r.ID
	k.dropOldestRotation()
	k.rotations = append(k.rotations, r)
	k.running[clusterKey(p.Context)] = r
	k.active.Add(1)
	return r, planReady, true
}

// dropOldestRotation makes room for one more.
func (k *work) dropOldestRotation() {
	if len(k.rotations) < keptRotations {
		return
	}
	oldest := slices.IndexFunc(k.rotations, func(r *rotation) bool { return k.running[clusterKey(r.Context)] != r })
	if oldest >= 0 {
		k.rotations = slices.Delete(k.rotations, oldest, oldest+1)
	}
}

// releaseCluster says that a rotation has ended: plans made before are void.
func (k *work) releaseCluster(r *rotation) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key := clusterKey(r.Context)
	if k.running[key] == r {
		delete(k.running, key)
	}
	k.ended[key]++
}

func (k *work) rotationByID(id string) *rotation {
	for _, r := range k.rotations {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// findRotation returns a rotation of a context.
func (k *work) findRotation(context, id string) *rotation {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.rotationByID(id); r != nil && r.Context.Name == context {
		return r
	}
	return nil
}

// interruptAll stops every rotation as Ctrl-C does, and lets none begin.
func (k *work) interruptAll() (interrupted int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopping = true
	for _, r := range k.running {
		r.interrupt(fleet.ErrInterrupted)
	}
	return len(k.running)
}

// runningContexts are the contexts with a rotation in progress, sorted.
func (k *work) runningContexts() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []string
	for _, r := range k.running {
		out = append(out, r.Context.Name)
	}
	slices.Sort(out)
	return out
}

// ownRotation is a rotation of this process, for links to its page.
type ownRotation struct {
	Path  string
	Words string
	Began time.Time
	Ended time.Time
}

// runningOn are the rotations in progress of a cluster; at most one.
func (k *work) runningOn(key string) []ownRotation {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r := k.running[key]; r != nil {
		return []ownRotation{r.linkTo()}
	}
	return nil
}

// rotationsOf are the rotations of a cluster that this process has begun, newest first.
func (k *work) rotationsOf(key string) []ownRotation {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []ownRotation
	for _, r := range slices.Backward(k.rotations) {
		if clusterKey(r.Context) == key {
			out = append(out, r.linkTo())
		}
	}
	return out
}
