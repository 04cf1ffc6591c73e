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
)

// Decider judges the picture whenever it, the policy, a mark or a rotation changes, and
// whenever the clock alone changes the answer. It tells what is near its end, and asks for
// the rotations that are due through the bus; objects are made by whoever hears that.
type Decider struct {
	Client   client.Client
	Picture  *Picture
	Events   Teller
	Recorder events.EventRecorder
	Log      *slog.Logger
	Now      func() time.Time
	// Complete waits until the picture has everything that there is: what a mark means must
	// not be decided on half of it. Nil: it has.
	Complete func(ctx context.Context) bool

	// Decided is told of every decision; may be nil. It must not block.
	Decided func(renewal.Decision)

	policy atomic.Pointer[renewal.Policy]
	pulse  pulse
	wake   chan struct{}

	// What only the loop touches.
	assessed   map[string]renewal.Assessment // of nodes that have something to tell or a time to wake at
	judged     *renewal.Policy               // the policy that they were made with
	told       map[string]time.Time          // by id of a notice, when it was published
	tellAt     time.Time                     // when one of them is published again
	spent      map[string]int                // by node, how many were new since spentSince
	spentSince time.Time
	toldMarks  map[types.UID]bool // that their event was published
	asked      map[string]asking  // by rotation's name
	requested  []renewal.Proposal

	mu   sync.Mutex
	last renewal.Decision
	at   time.Time // of the last decision; zero: none yet
}

const (
	// settle lets changes that come together be judged together.
	settle = 25 * time.Millisecond
	// askAgain is how often a rotation is asked for until its object exists.
	askAgain = time.Minute
	// directAfter is how long after it was first asked for a rotation's object is made without
	// NATS, which may be away.
	directAfter = 3 * time.Minute
	// longest is the longest time between two judgements: clocks are set, sometimes.
	longest = 30 * time.Minute
)

// NewDecider completes a decider.
func NewDecider(d *Decider, p *renewal.Policy) *Decider {
	d.wake = make(chan struct{}, 1)
	d.told, d.asked = map[string]time.Time{}, map[string]asking{}
	if d.Now == nil {
		d.Now = time.Now
	}
	d.policy.Store(p)
	return d
}

// Policy is the policy in force.
func (d *Decider) Policy() *renewal.Policy { return d.policy.Load() }

// Use puts another policy in force.
func (d *Decider) Use(p *renewal.Policy) {
	d.policy.Store(p)
	d.Kick()
}

// Kick has everything judged again soon. It never blocks.
func (d *Decider) Kick() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Last is the last decision, and when it was made; zero: none was made yet.
func (d *Decider) Last() (renewal.Decision, time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last, d.at
}

// Alive is an error where decisions are not made any more.
func (d *Decider) Alive() error { return d.pulse.alive("deciding", d.Now()) }

// NeedLeaderElection keeps a second watcher from asking for the same.
func (d *Decider) NeedLeaderElection() bool { return true }

// Start judges until ctx ends.
func (d *Decider) Start(ctx context.Context) error {
	if d.Complete != nil && !d.Complete(ctx) {
		return nil
	}
	// A new leader knows the whole picture and has judged none of it.
	d.judged = nil
	d.Picture.takeOver(d.Now())
	told := sync.OnceFunc(func() { d.Log.Info("all nodes are judged", "nodes", len(d.assessed)) })
	for {
		next, err := d.judge(ctx)
		if err == nil {
			told()
		}
		wait := longest
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			d.Log.Error("decide", "error", err)
			wait = retryAfter
		case !next.IsZero():
			wait = min(max(next.Sub(d.Now()), settle), longest)
		}
		if !d.sleep(ctx, wait) {
			return nil
		}
	}
}

// sleep waits for a change or for the time; it says whether to go on.
func (d *Decider) sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-d.wake:
	}
	timer.Reset(settle)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	}
	select { // what came meanwhile is judged now
	case <-d.wake:
	default:
	}
	return true
}

// judge brings everything up to date, and returns when to look again.
func (d *Decider) judge(ctx context.Context) (time.Time, error) {
	now := d.Now()
	d.pulse.beat(now)
	next := d.assess(now)
	history, err := d.history(ctx)
	if err != nil {
		return next, err
	}
	marks, failed, err := d.marks(ctx)
	if err != nil {
		return next, err
	}
	if failed {
		next = sooner(next, now.Add(retryAfter))
	}
	decision := renewal.Decide(renewal.Input{
		Now: now, Policy: d.judged, Assessments: d.due(), Node: d.node, Marks: marks, History: history, Requested: d.requested,
	})
	d.mu.Lock()
	d.last, d.at = decision, now
	d.mu.Unlock()
	if d.Decided != nil {
		d.Decided(decision)
	}
	if at := d.ask(ctx, now, decision.Start); !at.IsZero() {
		next = sooner(next, at)
	}
	return sooner(next, decision.Next), nil
}

// asking is when a rotation was asked for, whose object is not there yet.
type asking struct {
	first, last  time.Time
	certificates []renewal.Ref
}

// askedFirst is when the certificates of a rotation were first asked for. What is due changes
// meanwhile, and with it the rotation and its name; NATS does not become faster by that.
func (d *Decider) askedFirst(r renewal.Proposal, now time.Time) time.Time {
	first, same := now, map[renewal.Ref]bool{}
	for _, ref := range r.Certificates {
		same[renewal.Ref{Node: ref.Node, Service: ref.Service, Fingerprint: ref.Fingerprint}] = true
	}
	for _, asked := range d.asked {
		if asked.first.Before(first) && slices.ContainsFunc(asked.certificates, func(ref renewal.Ref) bool {
			return same[renewal.Ref{Node: ref.Node, Service: ref.Service, Fingerprint: ref.Fingerprint}]
		}) {
			first = asked.first
		}
	}
	return first
}

// ask publishes the rotations that are due, each again every minute until its object is
// there; it returns when to ask next. NATS must not be able to hold a rotation up: where it
// is urgent, or no object has come of it for some minutes, the object is made here. It is the
// same one, so that the event finds it made.
func (d *Decider) ask(ctx context.Context, now time.Time, start []renewal.Proposal) time.Time {
	var next time.Time
	d.requested = start
	current := map[string]asking{}
	for _, r := range start {
		asked, before := d.asked[r.Name]
		if !before || now.Before(asked.last) {
			asked = asking{first: d.askedFirst(r, now), certificates: r.Certificates}
		}
		if now.Sub(asked.last) >= askAgain {
			d.Log.Info("asking for a rotation", "rotation", r.Name, "services", r.Services, "nodes", r.Nodes, "compromised", r.Compromised)
			request := requestOf(r)
			id, err := d.Events.Tell(request)
			if err != nil || r.Compromised || r.Urgent || now.Sub(asked.first) >= directAfter {
				if err := d.make(ctx, request, id); err != nil {
					d.Log.Error("make rotation", "rotation", r.Name, "error", err)
				}
			}
			asked.last = now
		}
		current[r.Name] = asked
		next = sooner(next, asked.last.Add(askAgain))
	}
	d.asked = current
	return next
}

// history is what was rotated before, as the objects tell.
func (d *Decider) history(ctx context.Context) ([]renewal.Past, error) {
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

// sooner is the earlier of two times; zero means never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
