package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// leaseClient is the part of client-go's Lease interface that the lock needs.
type leaseClient interface {
	Get(context.Context, string, metav1.GetOptions) (*coordinationv1.Lease, error)
	Create(context.Context, *coordinationv1.Lease, metav1.CreateOptions) (*coordinationv1.Lease, error)
	Update(context.Context, *coordinationv1.Lease, metav1.UpdateOptions) (*coordinationv1.Lease, error)
}

// holdLease starts to renew a Lease that was just taken. The lock outlives the caller's ctx: it
// stays held while a node finishes or rolls back. displaced is its last holder, if that one had not
// released it.
func (l *Locker) holdLease(holder string, token int64, displaced *HeldError) *Lock {
	if displaced != nil && l.Displaced != nil {
		l.Displaced(displaced)
	}
	ctx, cancel := context.WithCancel(context.Background())
	lock := &Lock{locker: l, holder: holder, token: token, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(lock.ended)
		for wait.SleepFor(ctx, renewEvery) == nil {
			err := lock.renewLease(ctx)
			if ctx.Err() != nil {
				return
			}
			lock.rememberLease(err)
		}
	}()
	return lock
}

// Token is the fencing token of this lock.
func (k *Lock) Token() int64 { return k.token }

// Err returns why the last renewal failed; nil: it succeeded. A failed renewal alone does
// not stop a rotation, see [Lock.Confirm].
func (k *Lock) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *Lock) rememberLease(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// Confirm returns nil once a renewal has shown that the lock is still held, also where the
// Lease had expired meanwhile and no other process took it. It retries until ctx ends while
// the API is unavailable. [fleet.ErrLockLost] is final: a Lease that was taken over or deleted is
// not created again, since another rotation may have run in the meantime.
func (k *Lock) Confirm(ctx context.Context) error {
	for pause := (wait.Backoff{}); ; {
		err := k.renewLease(ctx)
		k.rememberLease(err)
		if err == nil || isLost(err) {
			return err
		}
		// No error of the API is final here: an API server that is starting returns
		// Forbidden and Unauthorized, too.
		if waited := pause.WaitLonger(ctx); waited != nil {
			return fmt.Errorf("confirm the lock: %w (last error of the API: %w)", waited, err)
		}
	}
}

// Release releases the lock, so that the next rotation need not wait. A lock that is
// already lost is no error.
func (k *Lock) Release(ctx context.Context) error {
	k.stop()
	<-k.ended
	for pause := (wait.Backoff{}); ; {
		err := k.updateLease(ctx, func(spec *coordinationv1.LeaseSpec) {
			spec.HolderIdentity = new("")
		})
		if err == nil || isLost(err) {
			return nil
		}
		k.rememberLease(err)
		if waited := pause.WaitLonger(ctx); waited != nil {
			return fmt.Errorf("release the lock: %w (last error of the API: %w)", waited, err)
		}
	}
}

func (k *Lock) renewLease(ctx context.Context) error {
	return k.updateLease(ctx, func(spec *coordinationv1.LeaseSpec) {
		now := metav1.NewMicroTime(k.locker.currentTime())
		duration := int32(leaseDuration / time.Second)
		spec.RenewTime = &now
		spec.LeaseDurationSeconds = &duration
	})
}

// attemptContext bounds one attempt of a request that is sent again: less than the time between
// two renewals of the lock.
func attemptContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, renewEvery-2*time.Second)
}

// updateLease changes the Lease if this lock still holds it, and fails with [fleet.ErrLockLost] where
// it does not. A conflict means that another process wrote the Lease, or that the response
// to our own last attempt got lost: the next read shows which.
func (k *Lock) updateLease(ctx context.Context, change func(*coordinationv1.LeaseSpec)) error {
	ctx, cancel := attemptContext(ctx)
	defer cancel()
	leases := k.leaseClient()
	for {
		lease, err := leases.Get(ctx, LeaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("%w: lease %q was deleted", fleet.ErrLockLost, LeaseNamespace+"/"+LeaseName)
		}
		if err != nil {
			return fmt.Errorf("read lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
		if err := k.isOurs(lease); err != nil {
			return err
		}
		change(&lease.Spec)
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		if apierrors.IsConflict(err) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return fmt.Errorf("renew lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
		return nil
	}
}

// leaseClient returns the client for the Lease. After a failure it uses a new connection, since
// the old one may lead to an API server that has lost its etcd and answers no request.
func (k *Lock) leaseClient() leaseClient {
	if k.Err() == nil {
		return k.locker.leaseClient()
	}
	return viaNewConnection(k.locker.Client, nil).CoordinationV1().Leases(LeaseNamespace)
}

// isOurs checks holder and token. One user may run the same rotation twice, but no two locks
// have the same token.
func (k *Lock) isOurs(lease *coordinationv1.Lease) error {
	held := holderOf(lease)
	if held == nil {
		return fmt.Errorf("%w: another process released it", fleet.ErrLockLost)
	}
	if held.Holder != k.holder || lease.Spec.LeaseTransitions == nil || int64(*lease.Spec.LeaseTransitions) != k.token {
		return fmt.Errorf("%w: %s holds it since %s", fleet.ErrLockLost, held.Holder, utcText(held.Since))
	}
	return nil
}

func isLost(err error) bool { return errors.Is(err, fleet.ErrLockLost) }
