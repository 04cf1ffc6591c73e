package kube

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// The cluster's one lock. It does not follow any namespace option: two rotations with
// different options must still exclude each other.
const (
	LeaseNamespace = "kube-system"
	LeaseName      = "rotate-certs"

	leaseDuration = 60 * time.Second
	renewEvery    = 10 * time.Second

	// annotationInstance names the holder that exists once only, see [Locker.Instance].
	annotationInstance = "rotate-certs.io/instance"
)

var (
	_ fleet.Locker = (*Locker)(nil)
	_ fleet.Lock   = (*Lock)(nil)
)

// Locker takes the Lease kube-system/rotate-certs.
//
// A Lease that another process holds is taken in three cases:
//
//   - It has expired by our clock, and was not renewed while this process observed it for
//     25 s. The holder's clock may differ from ours, but it renews every ten seconds.
//   - It was held by the predecessor of this very instance, see Locker.Instance.
//   - TakeOver is set: the operator knows that the holder no longer runs, or should stop.
//
// In each case the previous holder may still run. It commits no further node without
// [Lock.Confirm], and nodes refuse orders with a token older than the newest that they know.
type Locker struct {
	Client kubernetes.Interface
	Holder string // "user@host"
	// Instance names something of which there is never more than one process at a time,
	// such as the watcher's container in one pod. A holder of the same name has ended.
	// Empty: there is no such name.
	Instance string
	// TakeOver takes the lock at once, whatever process holds it.
	TakeOver bool
	// Waiting is called when Acquire observes an expired Lease; may be nil.
	Waiting func(held *HeldError, atMost time.Duration)
	// Displaced is called when Acquire has taken the lock from a holder that had not released it;
	// may be nil.
	Displaced func(held *HeldError)
	Now       func() time.Time // nil: time.Now
}

// Lock is a held lock, renewed in the background until it is released.
type Lock struct {
	locker *Locker
	holder string
	token  int64
	stop   context.CancelFunc
	ended  chan struct{}

	mu  sync.Mutex
	err error // of the last renewal; nil: it succeeded
}

// Acquire takes the lock for a rotation. Its token is higher than minToken and than
// that of any earlier lock. Held by another, it is a [*HeldError].
func (l *Locker) Acquire(ctx context.Context, rotation string, minToken int64) (fleet.Lock, error) {
	holder := l.Holder + beforeRotation + rotation + ")"
	pause := wait.Backoff{}
	var tried *coordinationv1.Lease // an earlier attempt may have written it although no response arrived
	var displaced *HeldError        // the holder before that attempt; nil: there was none
	for {
		lease, err := l.leaseClient().Get(ctx, LeaseName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			lease = nil
		case err != nil && isTransient(err) && pause.WaitLonger(ctx) == nil:
			continue
		case err != nil:
			return nil, fmt.Errorf("read lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
		if wasWritten(lease, tried) {
			return l.holdLease(holder, int64(*lease.Spec.LeaseTransitions), displaced), nil
		}
		if err := l.checkFree(ctx, lease); err != nil {
			return nil, err
		}
		token, err := nextToken(lease, minToken)
		if err != nil {
			return nil, err
		}
		displaced = holderOf(lease)
		tried = l.takenLease(lease, holder, token)
		err = l.writeLease(ctx, tried)
		switch {
		case err == nil:
			return l.holdLease(holder, token, displaced), nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), isTransient(err):
			// Another process wrote it, or the response got lost: read it again.
			if waited := pause.WaitLonger(ctx); waited != nil {
				return nil, fmt.Errorf("take lease %q: %w (last answer: %w)", LeaseNamespace+"/"+LeaseName, waited, err)
			}
		default:
			return nil, fmt.Errorf("take lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
	}
}

// Held returns a [*HeldError] where Acquire would return one now. It is one request and
// never waits: an expired Lease, or one that cannot be read, is left to Acquire.
func (l *Locker) Held(ctx context.Context) error {
	lease, err := l.leaseClient().Get(ctx, LeaseName, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	if held := l.heldByOther(lease); held != nil && l.currentTime().Before(held.Until) {
		return held
	}
	return nil
}

// heldByOther returns the holder of the Lease; nil: it is free, or may be taken over at once.
func (l *Locker) heldByOther(lease *coordinationv1.Lease) *HeldError {
	held := holderOf(lease)
	if held == nil || l.TakeOver || (l.Instance != "" && lease.Annotations[annotationInstance] == l.Instance) {
		return nil
	}
	return held
}

// checkFree returns nil once the Lease may be taken, and a [*HeldError] while it is held.
func (l *Locker) checkFree(ctx context.Context, lease *coordinationv1.Lease) error {
	held := l.heldByOther(lease)
	if held == nil {
		return nil
	}
	if l.currentTime().Before(held.Until) {
		return held
	}
	// How long this process must observe an expired Lease without a renewal before it takes the
	// lock: a holder that runs renews twice in that time.
	const expiredFor = 2*renewEvery + 5*time.Second
	if l.Waiting != nil {
		l.Waiting(held, expiredFor)
	}
	began := time.Now() // monotonic, and not the injected clock: this really waits
	for {
		if err := wait.SleepFor(ctx, time.Second); err != nil {
			return fmt.Errorf("observe lease %q, which expired at %s: %w", LeaseNamespace+"/"+LeaseName, utcText(held.Until), err)
		}
		now, err := l.leaseClient().Get(ctx, LeaseName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			// A failed read does not show that the Lease is unchanged.
			began = time.Now()
		case !equality.Semantic.DeepEqual(now.Spec, lease.Spec):
			if again := holderOf(now); again != nil {
				return again
			}
			return nil
		case time.Since(began) >= expiredFor:
			return nil
		}
	}
}

// takenLease returns the Lease as this process writes it to take the lock; before is the present
// one (nil: there is none).
func (l *Locker) takenLease(before *coordinationv1.Lease, holder string, token int64) *coordinationv1.Lease {
	now := metav1.NewMicroTime(l.currentTime())
	duration := int32(leaseDuration / time.Second)
	transitions := int32(token) //nolint:gosec // nextToken checked it
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: LeaseName, Namespace: LeaseNamespace}}
	if before != nil {
		lease = before.DeepCopy()
	}
	lease.Annotations = nil
	if l.Instance != "" {
		lease.Annotations = map[string]string{annotationInstance: l.Instance}
	}
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &holder, LeaseDurationSeconds: &duration, AcquireTime: &now, RenewTime: &now, LeaseTransitions: &transitions,
	}
	return lease
}

// writeLease creates the Lease, or updates it if it has not changed since it was read.
func (l *Locker) writeLease(ctx context.Context, lease *coordinationv1.Lease) error {
	if lease.ResourceVersion == "" {
		_, err := l.leaseClient().Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	_, err := l.leaseClient().Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// wasWritten reports whether the Lease is the one that an earlier attempt wrote: holder, token
// and a time in microseconds are the same.
func wasWritten(lease, tried *coordinationv1.Lease) bool {
	return lease != nil && tried != nil && equality.Semantic.DeepEqual(lease.Spec, tried.Spec)
}

func (l *Locker) leaseClient() leaseClient { return l.Client.CoordinationV1().Leases(LeaseNamespace) }

func (l *Locker) currentTime() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// nextToken returns one more than the highest token of the Lease and of the nodes. It is
// stored in leaseTransitions, an int32; rotations never come near its limit.
func nextToken(lease *coordinationv1.Lease, minToken int64) (int64, error) {
	highest := max(0, minToken)
	if lease != nil && lease.Spec.LeaseTransitions != nil {
		highest = max(highest, int64(*lease.Spec.LeaseTransitions))
	}
	if highest >= math.MaxInt32 {
		return 0, fmt.Errorf("fencing token %d leaves no room for a next one: a node's journal or the lease %q was tampered with",
			highest, LeaseNamespace+"/"+LeaseName)
	}
	return highest + 1, nil
}
