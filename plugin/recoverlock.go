package plugin

import (
	"context"
	"errors"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kube"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

// recoveryLocker takes the cluster's lock for a recovery. The API server may end meanwhile, which is
// no reason to end a recovery: it continues with the nodes' own lock.
type recoveryLocker struct {
	api, nodes fleet.Locker
	report     func(why error) // that the lock could not be taken
	timeout    time.Duration
}

// Acquire takes the lock, or that of the nodes where the API server does not answer.
func (l recoveryLocker) Acquire(ctx context.Context, rotation string, minToken int64) (fleet.Lock, error) {
	limited, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	lock, err := l.api.Acquire(limited, rotation, minToken)
	var held *kube.HeldError
	switch {
	case err == nil:
		return recoveryLock{lock}, nil
	case errors.As(err, &held), ctx.Err() != nil:
		return nil, err
	}
	l.report(err)
	return l.nodes.Acquire(ctx, rotation, minToken)
}

// recoveryLock is the cluster's lock, held by a recovery.
type recoveryLock struct{ fleet.Lock }

// Confirm returns nil unless another rotation holds the lock, or the Lease was deleted.
func (l recoveryLock) Confirm(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	if err := l.Lock.Confirm(limited); errors.Is(err, fleet.ErrLockLost) {
		return err
	}
	return ctx.Err()
}
