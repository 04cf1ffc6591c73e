package kube

import (
	"context"
	"errors"
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
)

// The cluster's one lock. It does not follow any namespace option: two rotations with
// different options must still exclude each other.
const (
	LeaseNamespace = "kube-system"
	LeaseName      = "rotate-certs"

	leaseDuration = 60 * time.Second
	renewEvery    = 10 * time.Second
	renewTimeout  = 8 * time.Second
	// deadAfter is how long an expired Lease must show no renewal under our own eyes
	// before it is taken over: a living holder renews twice in that time.
	deadAfter = 2*renewEvery + 5*time.Second

	// annotationProcess identifies the holding process on its own machine (and, on the pod
	// of a scan, the one that waits for it), annotationInstance that of which there is only one.
	annotationProcess  = "rotate-certs.io/process"
	annotationInstance = "rotate-certs.io/instance"
)

var (
	_ fleet.Locker = (*Locker)(nil)
	_ fleet.Lock   = (*Lock)(nil)
)

// ErrLockLost means that the lock is no longer ours: somebody took it over, or
// deleted the Lease.
var ErrLockLost = errors.New("the lock on the cluster is lost")

// HeldError names who holds the lock.
type HeldError struct {
	Holder string
	Since  time.Time
	Until  time.Time // when it runs out unless it is renewed
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("another rotation holds the lock: %s, since %s, until %s unless renewed\n"+
		"wait for it; if it is surely not running any more: kubectl -n %s delete lease %s",
		e.Holder, utc(e.Since), utc(e.Until), LeaseNamespace, LeaseName)
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Locker takes the Lease kube-system/rotate-certs.
//
// When is a holder dead? Its clock and ours may differ, and a laptop's may differ by
// a lot, so what renewTime says is only half of the answer:
//
//   - Not yet run out by our clock: held, said at once.
//   - Run out by our clock: watched for 25 s. A living holder renews every ten seconds
//     whatever its clock says. Unchanged for so long, it is taken over.
//   - Held by a process of this machine that no longer exists: taken over at once, so
//     that after a crash the same command goes on without waiting. So is what the
//     predecessor of this very instance held, see Locker.Instance.
//
// A holder that lives but cannot reach the API may lose the lock so. Then the fencing
// token keeps it from harm: nodes refuse orders with a token older than the newest
// they know, and it starts no further node without [Lock.Confirm].
type Locker struct {
	Client kubernetes.Interface
	Holder string // "user@host"
	// Instance names something of which there is never more than one process at a time,
	// such as the elected leader in one pod: whoever held the lock under the same name is
	// dead. Empty: nothing is known of that kind.
	Instance string
	// Waiting is told when Acquire watches a Lease that has run out; may be nil.
	Waiting func(held *HeldError, atMost time.Duration)
	Now     func() time.Time // nil: time.Now
}

// Lock is a held lock, renewed in the background until it is released.
type Lock struct {
	locker *Locker
	holder string
	token  int64
	stop   context.CancelFunc
	ended  chan struct{}

	mu  sync.Mutex
	err error // of the last renewal; nil: it went well
}

// Acquire takes the lock for a rotation. Its token is higher than minToken and than
// that of any earlier lock. Held by another, it is a [*HeldError].
func (l *Locker) Acquire(ctx context.Context, rotation string, minToken int64) (fleet.Lock, error) {
	holder := fmt.Sprintf("%s (rotation %s)", l.Holder, rotation)
	pause := backoff{}
	var tried *coordinationv1.Lease // what an earlier try, whose answer got lost, may have written
	for {
		lease, err := l.leases().Get(ctx, LeaseName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			lease = nil
		case err != nil && transient(err) && pause.wait(ctx) == nil:
			continue
		case err != nil:
			return nil, fmt.Errorf("read lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
		if written(lease, tried) {
			return l.hold(holder, int64(*lease.Spec.LeaseTransitions)), nil
		}
		if err := l.free(ctx, lease); err != nil {
			return nil, err
		}
		token, err := nextToken(lease, minToken)
		if err != nil {
			return nil, err
		}
		tried = l.taken(lease, holder, token)
		err = l.write(ctx, tried)
		switch {
		case err == nil:
			return l.hold(holder, token), nil
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), transient(err):
			// Somebody was faster, or the answer got lost: look again.
			if waited := pause.wait(ctx); waited != nil {
				return nil, fmt.Errorf("take lease %q: %w (last answer: %w)", LeaseNamespace+"/"+LeaseName, waited, err)
			}
		default:
			return nil, fmt.Errorf("take lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
	}
}

// Held returns a [*HeldError] where Acquire would now, for a look that costs next to
// nothing. It waits for nobody: that a Lease has run out is left to Acquire, and so is
// whatever keeps it from being read.
func (l *Locker) Held(ctx context.Context) error {
	lease, err := l.leases().Get(ctx, LeaseName, metav1.GetOptions{})
	if err != nil {
		return nil
	}
	if held := l.heldByOther(lease); held != nil && l.now().Before(held.Until) {
		return held
	}
	return nil
}

// heldByOther says who holds the Lease; nil: nobody, or one who is surely dead.
func (l *Locker) heldByOther(lease *coordinationv1.Lease) *HeldError {
	held := holding(lease)
	if held == nil || deadProcess(lease.Annotations[annotationProcess]) ||
		(l.Instance != "" && lease.Annotations[annotationInstance] == l.Instance) {
		return nil
	}
	return held
}

// free returns nil once the Lease may be taken, and a [*HeldError] while it is held.
func (l *Locker) free(ctx context.Context, lease *coordinationv1.Lease) error {
	held := l.heldByOther(lease)
	if held == nil {
		return nil
	}
	if l.now().Before(held.Until) {
		return held
	}
	if l.Waiting != nil {
		l.Waiting(held, deadAfter)
	}
	began := time.Now() // monotonic, and not the injected clock: this really waits
	for {
		if err := sleep(ctx, time.Second); err != nil {
			return fmt.Errorf("watch lease %q, which ran out at %s: %w", LeaseNamespace+"/"+LeaseName, utc(held.Until), err)
		}
		now, err := l.leases().Get(ctx, LeaseName, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			// Not seen is not unchanged: a look that fails verifies nothing.
			began = time.Now()
		case !equality.Semantic.DeepEqual(now.Spec, lease.Spec):
			if again := holding(now); again != nil {
				return again
			}
			return nil
		case time.Since(began) >= deadAfter:
			return nil
		}
	}
}

// taken is the Lease as it is when we have it: before (nil: there is none) changed.
func (l *Locker) taken(before *coordinationv1.Lease, holder string, token int64) *coordinationv1.Lease {
	now := metav1.NewMicroTime(l.now())
	duration, transitions := int32(leaseDuration/time.Second), int32(token) //nolint:gosec // nextToken checked it
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: LeaseName, Namespace: LeaseNamespace}}
	if before != nil {
		lease = before.DeepCopy()
	}
	lease.Annotations = map[string]string{annotationProcess: thisProcess()}
	if l.Instance != "" {
		lease.Annotations[annotationInstance] = l.Instance
	}
	lease.Spec = coordinationv1.LeaseSpec{
		HolderIdentity: &holder, LeaseDurationSeconds: &duration, AcquireTime: &now, RenewTime: &now, LeaseTransitions: &transitions,
	}
	return lease
}

// write creates the Lease, or updates it if it is still the one that was judged free.
func (l *Locker) write(ctx context.Context, lease *coordinationv1.Lease) error {
	if lease.ResourceVersion == "" {
		_, err := l.leases().Create(ctx, lease, metav1.CreateOptions{})
		return err
	}
	_, err := l.leases().Update(ctx, lease, metav1.UpdateOptions{})
	return err
}

// written says that the Lease is the one that we tried to write.
func written(lease, tried *coordinationv1.Lease) bool {
	return lease != nil && tried != nil && equality.Semantic.DeepEqual(lease.Spec, tried.Spec) &&
		lease.Annotations[annotationProcess] == tried.Annotations[annotationProcess]
}

func (l *Locker) leases() leaseClient { return l.Client.CoordinationV1().Leases(LeaseNamespace) }

func (l *Locker) now() time.Time {
	if l.Now == nil {
		return time.Now()
	}
	return l.Now()
}

// nextToken is one more than the highest token that anybody knows. It lives in
// leaseTransitions, so it must fit an int32; no honest history comes near the end.
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

// Holder says who holds the cluster's lock, also where it has run out by now; nil:
// nobody does.
func Holder(ctx context.Context, client kubernetes.Interface) (*HeldError, error) {
	lease, err := client.CoordinationV1().Leases(LeaseNamespace).Get(ctx, LeaseName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
	}
	return holding(lease), nil
}

// holding says who holds the Lease; nil: nobody.
func holding(lease *coordinationv1.Lease) *HeldError {
	if lease == nil || lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		return nil
	}
	held := &HeldError{Holder: *lease.Spec.HolderIdentity}
	if t := lease.Spec.AcquireTime; t != nil {
		held.Since = t.Time
	}
	if t := lease.Spec.RenewTime; t != nil {
		duration := leaseDuration
		if s := lease.Spec.LeaseDurationSeconds; s != nil {
			duration = time.Duration(*s) * time.Second
		}
		held.Until = t.Add(duration)
	}
	return held
}
