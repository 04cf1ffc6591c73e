package dashboard

import (
	"slices"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
)

// Bounds of what is kept in memory; the oldest is dropped. A rotation in progress never is.
const (
	keptOfEach  = 50 // plans and rotations, in a dashboard of one user
	plansAtOnce = 8
)

// work holds the plans and rotations of this process. One mutex decides which rotation begins:
// two requests never start the same plan, nor two rotations of one cluster.
type work struct {
	now  func() time.Time
	kept int // plans, and rotations

	mu        sync.Mutex
	stopping  bool
	planning  int                // calls that make a plan and have not ended
	plans     []*plannedRotation // oldest first
	rotations []*rotation        // oldest first
	running   map[string]*rotation
	ended     map[string]int // rotations of a cluster that have ended, by its key
	active    sync.WaitGroup
}

func newWork(now func() time.Time) *work {
	return &work{now: now, kept: keptOfEach, running: map[string]*rotation{}, ended: map[string]int{}}
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
	p.run = nil
	k.dropOldestRotation()
	k.rotations = append(k.rotations, r)
	k.running[clusterKey(p.Context)] = r
	k.active.Add(1)
	return r, planReady, true
}

// dropOldestRotation makes room for one more.
func (k *work) dropOldestRotation() {
	if len(k.rotations) < k.kept {
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
	r.run = nil
	k.dropRuns()
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

// runningRotation is the rotation in progress of a cluster; nil: there is none.
func (k *work) runningRotation(key string) *rotation {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.running[key]
}

// allOf are the rotations of a cluster, oldest first.
func (k *work) allOf(key string) []*rotation {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []*rotation
	for _, r := range k.rotations {
		if clusterKey(r.Context) == key {
			out = append(out, r)
		}
	}
	return out
}

// newestOf is the newest rotation of a cluster; nil: there is none.
func (k *work) newestOf(key string) *rotation {
	all := k.allOf(key)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// newestIDs are the ids of the newest plan and rotation of a context, by the names that they have in
// paths of the API.
func (k *work) newestIDs(context string) map[string]string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]string{}
	for _, p := range k.plans {
		if p.Context.Name == context {
			out["plan"] = p.ID
		}
	}
	for _, r := range k.rotations {
		if r.Context.Name == context {
			out["rotation"] = r.ID
		}
	}
	return out
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
