package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

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

// hold starts to renew a Lease that was just taken. What ends the caller's ctx must
// not end the lock: while a node finishes or undoes its work it stays held.
func (l *Locker) hold(holder string, token int64) *Lock {
	ctx, cancel := context.WithCancel(context.Background())
	lock := &Lock{locker: l, holder: holder, token: token, stop: cancel, ended: make(chan struct{})}
	go func() {
		defer close(lock.ended)
		for sleep(ctx, renewEvery) == nil {
			err := lock.renew(ctx)
			if ctx.Err() != nil {
				return
			}
			lock.remember(err)
		}
	}()
	return lock
}

// Token is the fencing token of this lock.
func (k *Lock) Token() int64 { return k.token }

// Err is why the last renewal failed; nil: it went well. A failure alone stops
// nothing: see [Lock.Confirm].
func (k *Lock) Err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

func (k *Lock) remember(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// Confirm returns nil once a renewal has shown that the lock is still held, even
// where it had run out in the meantime and nobody took it. While the API is away it
// tries again until ctx ends. [ErrLockLost] is final: a Lease that was taken over or
// deleted is not made anew, since another rotation may have come and gone.
func (k *Lock) Confirm(ctx context.Context) error {
	for pause := (backoff{}); ; {
		err := k.renew(ctx)
		k.remember(err)
		if err == nil || lost(err) {
			return err
		}
		// No error of the API is taken as final here: one that is just starting says
		// Forbidden and Unauthorized too.
		if waited := pause.wait(ctx); waited != nil {
			return fmt.Errorf("confirm the lock: %w (the API's last answer: %w)", waited, err)
		}
	}
}

// Release gives the lock back, so that the next rotation need not wait. A lock that
// is lost is none of ours to give back, and no error.
func (k *Lock) Release(ctx context.Context) error {
	k.stop()
	<-k.ended
	for pause := (backoff{}); ; {
		err := k.update(ctx, func(spec *coordinationv1.LeaseSpec) {
			nobody := ""
			spec.HolderIdentity = &nobody
		})
		if err == nil || lost(err) {
			return nil
		}
		k.remember(err)
		if waited := pause.wait(ctx); waited != nil {
			return fmt.Errorf("release the lock: %w (the API's last answer: %w)", waited, err)
		}
	}
}

func (k *Lock) renew(ctx context.Context) error {
	return k.update(ctx, func(spec *coordinationv1.LeaseSpec) {
		now := metav1.NewMicroTime(k.locker.now())
		duration := int32(leaseDuration / time.Second)
		spec.RenewTime, spec.LeaseDurationSeconds = &now, &duration
	})
}

// update changes the Lease if it is still ours, and fails with [ErrLockLost] where it
// is not. A conflict means that the Lease was written by somebody else, or that the
// answer to our own last try got lost: looking again tells which.
func (k *Lock) update(ctx context.Context, change func(*coordinationv1.LeaseSpec)) error {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	leases := k.leases()
	for {
		lease, err := leases.Get(ctx, LeaseName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return fmt.Errorf("%w: somebody deleted lease %q", ErrLockLost, LeaseNamespace+"/"+LeaseName)
		}
		if err != nil {
			return fmt.Errorf("read lease %q: %w", LeaseNamespace+"/"+LeaseName, err)
		}
		if err := k.ours(lease); err != nil {
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

// leases is how to get at the Lease: after a failure by a new connection, for the old one
// may lead to an API server that takes requests and answers none, having lost its etcd.
func (k *Lock) leases() leaseClient {
	if k.Err() == nil {
		return k.locker.leases()
	}
	return elsewhere(k.locker.Client, nil).CoordinationV1().Leases(LeaseNamespace)
}

// ours checks holder and token: the same person may run the same rotation twice, but
// no two locks ever have the same token.
func (k *Lock) ours(lease *coordinationv1.Lease) error {
	held := holding(lease)
	if held == nil {
		return fmt.Errorf("%w: it was released by somebody else", ErrLockLost)
	}
	if held.Holder != k.holder || lease.Spec.LeaseTransitions == nil || int64(*lease.Spec.LeaseTransitions) != k.token {
		return fmt.Errorf("%w: %s holds it since %s", ErrLockLost, held.Holder, utc(held.Since))
	}
	return nil
}

func lost(err error) bool { return errors.Is(err, ErrLockLost) }
