package fleet

import (
	"context"
	"errors"
	"strings"
	"time"
)

// ErrLockLost means that the lock is known to be lost: another process took it over, or its object
// was deleted.
var ErrLockLost = errors.New("the lock on the cluster is lost")

// confirmLock waits until it is sure that the lock is still held. what is the part that the nodes do
// not take otherwise: "touched".
func (r *run) confirmLock(ctx context.Context, nodes []string, what string) error {
	// If the API server is unavailable for longer, the rotation stops.
	limited, cancel := context.WithTimeout(ctx, 20*time.Minute)
	defer cancel()
	shown := make(chan struct{})
	// A confirmation that takes longer is reported.
	waiting := time.AfterFunc(5*time.Second, func() {
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
