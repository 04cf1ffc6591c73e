package fleet

import (
	"context"
	"errors"
	"strings"
	"time"
)

const (
	// confirmTimeout is how long the API server may be unavailable until the rotation stops.
	confirmTimeout = 20 * time.Minute
	// confirmQuietly is how long a confirmation may take before it is reported.
	confirmQuietly = 5 * time.Second
)

// ErrLockLost means that the lock is known to be lost: another process took it over, or its object
// was deleted.
var ErrLockLost = errors.New("the lock on the cluster is lost")

// confirmLock waits until it is sure that the lock is still held. what is the part that the nodes do
// not take otherwise: "touched".
func (r *run) confirmLock(ctx context.Context, nodes []string, what string) error {
	limited, cancel := context.WithTimeout(ctx, confirmTimeout)
	defer cancel()
	shown := make(chan struct{})
	waiting := time.AfterFunc(confirmQuietly, func() {
		defer close(shown)
		r.showProgress(Progress{Phase: PhaseWaiting, Text: "the API server does not confirm that the lock is still held"})
	})
	err := r.lock.Confirm(limited)
	if !waiting.Stop() {
		<-shown
		r.showProgress(Progress{}) // removes the line
	}
	if err == nil {
		return nil
	}
	state := "it could not be confirmed that the lock is still held"
	if errors.Is(err, ErrLockLost) {
		state = "the lock is no longer held"
	}
	return r.stoppedError(state+"; "+strings.Join(nodes, ", ")+" not "+what, err)
}
