package watcher

import (
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/policy/rotationpolicy"
)

// policy follows the RotationPolicy. Without one the defaults are in force. If it becomes
// invalid, the last valid policy remains in force. If it was never valid since the start, the
// watcher is notify-only.
type policy struct {
	notifyOnly bool
	log        *slog.Logger
	now        func() time.Time
	use        func(*renewal.Policy) // receives every policy that is put in force; may be nil
	inForce    atomic.Pointer[renewal.Policy]
	changed    chan struct{} // the status may have to be written

	mu       sync.Mutex
	lifetime time.Duration
	known    bool                     // whether it is known if there is an object
	object   *v1alpha1.RotationPolicy // nil: there is none
	invalid  error                    // why it is invalid; nil: it is valid
	held     *held                    // nil: none was valid since the start
}

// held is the valid policy in force.
type held struct {
	policy     renewal.Policy
	generation int64 // of the object; 0: there was none
	since      time.Time
}

func newPolicy(notifyOnly bool, log *slog.Logger, now func() time.Time) *policy {
	p := &policy{notifyOnly: notifyOnly, log: log, now: now, changed: make(chan struct{}, 1)}
	p.putInForce(renewal.Default().NotifyOnly())
	return p
}

// currentPolicy is the policy in force.
func (p *policy) currentPolicy() *renewal.Policy { return p.inForce.Load() }

// validationError is why the object is invalid; nil: it is valid.
func (p *policy) validationError() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.invalid
}

// setLifetime sets the default validity of the cluster's certificates.
func (p *policy) setLifetime(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifetime = d
	p.putInForce(*p.inForce.Load())
}

// handleObject receives the object from the informer; nil: it was deleted.
func (p *policy) handleObject(name string, object client.Object) {
	if name != v1alpha1.RotationPolicyName {
		return
	}
	policy, _ := object.(*v1alpha1.RotationPolicy)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.observeObject(policy)
}

// applyDefaults puts the defaults in force if the informer has passed all objects and there
// was none.
func (p *policy) applyDefaults() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.known {
		p.observeObject(nil)
	}
}

func (p *policy) observeObject(object *v1alpha1.RotationPolicy) {
	same := p.known && sameSpec(p.object, object)
	p.object = object
	p.known = true
	select {
	case p.changed <- struct{}{}:
	default:
	}
	if same {
		return
	}
	next := renewal.Default()
	generation := int64(0)
	err := error(nil)
	if object != nil {
		generation = object.Generation
		next, err = rotationpolicy.Compile(&object.Spec)
	}
	if err != nil {
		p.invalid = hint.AddTo(fmt.Errorf("RotationPolicy %q is invalid: %w", object.Name, err), "kubectl rotate-certs policy check") //nolint:staticcheck // a kind's name
		p.log.Error("the RotationPolicy is invalid", "generation", generation, "error", err, "inForce", p.held.describeKept())
		return
	}
	p.invalid = nil
	p.held = &held{policy: next, generation: generation, since: p.now()}
	p.putInForce(next)
	p.log.Info("policy in force", "policy", p.held.describePolicy())
}

// sameSpec is true if at most status and metadata have changed.
func sameSpec(a, b *v1alpha1.RotationPolicy) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.UID == b.UID && a.Generation == b.Generation
}

// putInForce puts a policy in force.
func (p *policy) putInForce(policy renewal.Policy) {
	policy.Lifetime = p.lifetime
	if p.notifyOnly {
		policy = policy.NotifyOnly()
	}
	p.inForce.Store(&policy)
	if p.use != nil {
		p.use(&policy)
	}
}
