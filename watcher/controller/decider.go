package controller

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/policy/renewal"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// Decider decides whenever the picture, the policy, a CompromisedCertificate or a rotation
// changes, and whenever time alone changes the result. It publishes notices of certificates
// that expire soon, and requests due rotations through the bus. [Decider.ReceiveRequest]
// creates the objects from these requests.
type Decider struct {
	Client   client.Client
	Picture  *Picture
	Events   Publisher
	Recorder events.EventRecorder
	Log      *slog.Logger
	Now      func() time.Time
	// Complete waits until the picture is complete. The certificates that a
	// CompromisedCertificate matches must not be determined before. Nil: the picture is
	// complete.
	Complete func(ctx context.Context) bool

	// Decided receives every decision; may be nil. It must not block.
	Decided func(renewal.Decision)

	policy atomic.Pointer[renewal.Policy]
	pulse  pulse
	wake   chan struct{}

	// Only the loop of Start uses these.
	assessed             map[string]renewal.Assessment // by node
	assessedBy           *renewal.Policy               // the policy of these assessments
	published            map[string]time.Time          // by id of a notice, when it was published
	publishAt            time.Time                     // when a notice is published again
	newEvents            map[string]int                // by node, the events since countedSince
	countedSince         time.Time
	publishedCompromised map[types.UID]bool        // CompromisedCertificates whose event was published
	pending              map[string]pendingRequest // by name of the rotation
	requested            []renewal.Proposal

	refusals refusals // of requests of other clusters

	// Only ReceiveAsked uses these: the rotation that it has created last.
	lastAsked     renewal.Asked
	lastAskedName string

	mu   sync.Mutex
	last renewal.Decision
	at   time.Time // of the last decision; zero: none yet
}

const (
	// debounceDelay is how long the decider waits for further changes, to judge them together.
	debounceDelay = 25 * time.Millisecond
	// requestInterval is how often a rotation is requested until its object exists.
	requestInterval = time.Minute
	// createDirectlyAfter is how long after the first request the object of a rotation is
	// created without NATS, which may be unavailable.
	createDirectlyAfter = 3 * time.Minute
	// maxDecideInterval is the longest time between two decisions. It bounds the delay when a
	// clock is set.
	maxDecideInterval = 30 * time.Minute
)

// NewDecider completes a decider.
func NewDecider(d *Decider, p *renewal.Policy) *Decider {
	d.wake = make(chan struct{}, 1)
	d.published = map[string]time.Time{}
	d.pending = map[string]pendingRequest{}
	if d.Now == nil {
		d.Now = time.Now
	}
	d.policy.Store(p)
	return d
}

// PolicyInForce is the policy in force.
func (d *Decider) PolicyInForce() *renewal.Policy { return d.policy.Load() }

// UsePolicy puts another policy in force.
func (d *Decider) UsePolicy(p *renewal.Policy) {
	d.policy.Store(p)
	d.TriggerDecision()
}

// TriggerDecision makes the decider decide soon. It never blocks.
func (d *Decider) TriggerDecision() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// LastDecision returns the last decision and its time; zero: there was none yet.
func (d *Decider) LastDecision() (renewal.Decision, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last, d.at
}

// CheckAlive returns an error if the decider no longer decides.
func (d *Decider) CheckAlive() error { return d.pulse.checkAlive("deciding", d.Now()) }

// NeedLeaderElection keeps a second watcher from requesting the same rotations.
func (d *Decider) NeedLeaderElection() bool { return true }

// Start decides until ctx ends.
func (d *Decider) Start(ctx context.Context) error {
	if d.Complete != nil && !d.Complete(ctx) {
		return nil
	}
	// A new leader has assessed no node yet.
	d.assessedBy = nil
	d.Picture.dropOldRenewals(d.Now())
	logOnce := sync.OnceFunc(func() { d.Log.Info("all nodes are assessed", "nodes", len(d.assessed)) })
	for {
		next, err := d.decideOnce(ctx)
		if err == nil {
			logOnce()
		}
		pause := maxDecideInterval
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.Log.Error("decide", "error", err)
			pause = retryAfter
		case !next.IsZero():
			pause = min(max(next.Sub(d.Now()), debounceDelay), maxDecideInterval)
		}
		if !d.awaitChange(ctx, pause) {
			return nil
		}
	}
}

// awaitChange waits for a change, or for the given time. It returns false once ctx has ended.
func (d *Decider) awaitChange(ctx context.Context, most time.Duration) bool {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-d.wake:
	}
	if wait.SleepFor(ctx, debounceDelay) != nil {
		return false
	}
	select { // the next decision includes all changes until now
	case <-d.wake:
	default:
	}
	return true
}

// decideOnce makes one decision and acts on it. It returns when to decide next.
func (d *Decider) decideOnce(ctx context.Context) (time.Time, error) {
	now := d.Now()
	d.pulse.recordBeat(now)
	next := d.assessNodes(now)
	history, err := d.listHistory(ctx)
	if err != nil {
		return next, err
	}
	compromised, failed, err := d.compromisedCertificates(ctx)
	if err != nil {
		return next, err
	}
	if failed {
		next = renewal.EarlierOf(next, now.Add(retryAfter))
	}
	decision := renewal.Decide(renewal.Input{
		Now: now, Policy: d.assessedBy, Assessments: d.dueAssessments(), Node: d.lookupNode, CompromisedCertificates: compromised, History: history, Requested: d.requested,
	})
	d.mu.Lock()
	d.last = decision
	d.at = now
	d.mu.Unlock()
	if d.Decided != nil {
		d.Decided(decision)
	}
	if at := d.requestRotations(ctx, now, decision.Start); !at.IsZero() {
		next = renewal.EarlierOf(next, at)
	}
	return renewal.EarlierOf(next, decision.Next), nil
}

// pendingRequest is a rotation that was requested and whose object does not exist yet.
type pendingRequest struct {
	first, last  time.Time
	certificates []renewal.Ref
}

// firstRequested is when the certificates of a rotation were first requested. The set of due
// certificates, and with it the name of the rotation, may have changed since. That must not
// extend the wait for NATS.
func (d *Decider) firstRequested(r renewal.Proposal, now time.Time) time.Time {
	first := now
	same := map[renewal.Ref]bool{}
	for _, ref := range r.Certificates {
		same[renewal.Ref{Node: ref.Node, Service: ref.Service, Fingerprint: ref.Fingerprint}] = true
	}
	for _, pending := range d.pending {
		if pending.first.Before(first) && slices.ContainsFunc(pending.certificates, func(ref renewal.Ref) bool {
			return same[renewal.Ref{Node: ref.Node, Service: ref.Service, Fingerprint: ref.Fingerprint}]
		}) {
			first = pending.first
		}
	}
	return first
}

// requestRotations publishes requests for due rotations, each again every minute until its
// object exists. It returns when to publish next. NATS must not delay a rotation: if it is
// urgent, or the object does not exist some minutes later, the object is created here. It has
// the same name, so that the request has no further effect.
func (d *Decider) requestRotations(ctx context.Context, now time.Time, start []renewal.Proposal) time.Time {
	var next time.Time
	d.requested = start
	current := map[string]pendingRequest{}
	for _, r := range start {
		pending, before := d.pending[r.Name]
		if !before || now.Before(pending.last) {
			pending = pendingRequest{first: d.firstRequested(r, now), certificates: r.Certificates}
		}
		if now.Sub(pending.last) >= requestInterval {
			d.Log.Info("requesting a rotation", "rotation", r.Name, "services", r.Services, "nodes", r.Nodes, "compromised", r.Compromised)
			request := requestOf(r)
			id, err := d.Events.Publish(request)
			if err != nil || r.Compromised || r.Urgent || now.Sub(pending.first) >= createDirectlyAfter {
				if err := d.createRotation(ctx, request, id); err != nil {
					d.Log.Error("create rotation", "rotation", r.Name, "error", err)
				}
			}
			pending.last = now
		}
		current[r.Name] = pending
		next = renewal.EarlierOf(next, pending.last.Add(requestInterval))
	}
	d.pending = current
	return next
}

// listHistory returns all rotations, as their objects describe them.
func (d *Decider) listHistory(ctx context.Context) ([]renewal.Past, error) {
	var list v1alpha1.CertificateRotationList
	if err := d.Client.List(ctx, &list); err != nil {
		return nil, err
	}
	out := make([]renewal.Past, 0, len(list.Items))
	for i := range list.Items {
		out = append(out, pastOf(&list.Items[i]))
	}
	return out, nil
}
