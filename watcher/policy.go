package watcher

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// policy follows the RotationPolicy. Where there is none, the defaults hold. One that became
// invalid changes nothing: the last valid one stays in force. One that was never valid since
// the start lets the watcher only notify.
type policy struct {
	notifyOnly bool
	log        *slog.Logger
	now        func() time.Time
	use        func(*renewal.Policy) // gets every policy that comes into force; may be nil
	inForce    atomic.Pointer[renewal.Policy]
	changed    chan struct{} // that the status may have to be written

	mu       sync.Mutex
	lifetime time.Duration
	known    bool                     // whether there is an object
	object   *v1alpha1.RotationPolicy // nil: there is none
	wrong    error                    // that is wrong with it
	held     *held                    // nil: no valid one since the start
}

// held is the valid policy that is in force.
type held struct {
	policy     renewal.Policy
	generation int64 // of the object; 0: there was none
	since      time.Time
}

func newPolicy(notifyOnly bool, log *slog.Logger, now func() time.Time) *policy {
	p := &policy{notifyOnly: notifyOnly, log: log, now: now, changed: make(chan struct{}, 1)}
	p.apply(renewal.Default().NotifyOnly())
	return p
}

// current is the policy in force.
func (p *policy) current() *renewal.Policy { return p.inForce.Load() }

// problem is what is wrong with the object; nil: nothing.
func (p *policy) problem() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.wrong
}

// lives sets how long the cluster's certificates are valid by default.
func (p *policy) lives(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifetime = d
	p.apply(*p.inForce.Load())
}

// on takes an object as an informer passes it; nil: it was deleted.
func (p *policy) on(name string, object client.Object) {
	if name != v1alpha1.RotationPolicyName {
		return
	}
	policy, _ := object.(*v1alpha1.RotationPolicy)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observe(policy)
}

// settle applies the defaults where no object was there when all of them had been passed.
func (p *policy) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		p.observe(nil)
	}
}

func (p *policy) observe(object *v1alpha1.RotationPolicy) {
	same := p.known && sameSpec(p.object, object)
	p.object, p.known = object, true
	select {
	case p.changed <- struct{}{}:
	default:
	}
	if same {
		return
	}
	next, generation, err := renewal.Default(), int64(0), error(nil)
	if object != nil {
		generation = object.Generation
		next, err = rotationpolicy.Compile(&object.Spec)
	}
	if err != nil {
		p.wrong = fmt.Errorf("RotationPolicy %q is invalid: %w\nhint: kubectl rotate-certs policy check", object.Name, err) //nolint:staticcheck // a kind's name
		p.log.Error("the RotationPolicy is invalid", "generation", generation, "error", err, "inForce", p.held.stays())
		return
	}
	p.wrong = nil
	p.held = &held{policy: next, generation: generation, since: p.now()}
	p.apply(next)
	p.log.Info("policy in force", "policy", p.held.words())
}

// sameSpec says whether an object has not changed but for its status and metadata.
func sameSpec(a, b *v1alpha1.RotationPolicy) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.Generation == b.Generation
}

// apply puts a policy in force.
func (p *policy) apply(policy renewal.Policy) {
	policy.Lifetime = p.lifetime
	if p.notifyOnly {
		policy = policy.NotifyOnly()
	}
	p.inForce.Store(&policy)
	if p.use != nil {
		p.use(&policy)
	}
}
